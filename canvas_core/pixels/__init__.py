"""Everything that is done to pixels without a network: placing, filling, borrowing, finishing, pasting back."""
