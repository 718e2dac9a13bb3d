"""Everything that one short run on a card brings home: see README.md."""
