"""The commands: `etcd` and `etcdctl`."""
