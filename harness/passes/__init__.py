"""Graph rewrites on Relax: canonicalise, layout, fusion levels."""
