"""Tools that every package uses: files, locks, registers, errors, and the reach into Keras."""
