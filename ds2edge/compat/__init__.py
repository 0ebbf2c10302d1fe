"""The interfaces of libraries that are no longer maintained, over ds2edge."""
