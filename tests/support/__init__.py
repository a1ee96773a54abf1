"""What tests share: files in their true formats, small configs, processes."""
