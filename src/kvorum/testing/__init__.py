"""Help for tests: real server processes, alone or as a cluster."""

from kvorum.testing.process import ClusterProcess, ServerProcess

__all__ = ["ClusterProcess", "ServerProcess"]
