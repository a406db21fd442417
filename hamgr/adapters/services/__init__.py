"""The drivers of services, one a file or folder: each implements the port Services."""
