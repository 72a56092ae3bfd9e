"""kvorum: a drop-in etcd in Python."""
