"""Write the reference's pages: one for each public name, from its docstring and signature."""
