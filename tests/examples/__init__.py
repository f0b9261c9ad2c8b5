"""The example projects, run as their READMEs say."""
