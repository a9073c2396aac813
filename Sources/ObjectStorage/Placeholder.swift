// Taken away when the module is written.
