"""FileService: the files that operations read and write."""
