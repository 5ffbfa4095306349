"""Hide what is known, outpaint it back, and measure: protocol, measures, bars and the report."""
