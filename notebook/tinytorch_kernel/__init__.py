"""A Jupyter kernel for C++ lessons: it compiles each cell behind those before it and runs it in a process of its own."""
