"""The drivers of services, one a file: each implements the port Services."""
