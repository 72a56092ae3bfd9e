"""Handlers: parse, check, propose or read, encode. All plain functions of an exchange."""
