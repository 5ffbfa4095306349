"""How the published systems make their training samples."""
