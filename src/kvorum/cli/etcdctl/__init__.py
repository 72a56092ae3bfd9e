"""etcdctl: the command line client."""
