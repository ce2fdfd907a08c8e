"""What everything else uses: ranges of options, files, names, plugins, memory, text from outside."""
