"""Clients of a running server: for etcdctl, for tests, for programs."""
