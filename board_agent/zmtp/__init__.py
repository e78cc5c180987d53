"""ZMTP, the wire protocol of ZeroMQ, for kernels on boards that have no libzmq."""
