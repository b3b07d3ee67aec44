"""What withdrawing comes to, measured: how much one person moved what was learned, and how soon a device is silent."""
