"""Measure on one GPU all that no CPU can show: `python -m benchmarks.gpu --minutes 7 --out DIR`.

`docs/develop/gpu.md` says how to run it, and how it goes on after a stop. The way of a run:

- `__main__.py` reads the arguments, watches over `run.py` in its process, and writes the table;
- `run.py` goes through the parts, each with its share of the minutes, case by case;
- `equality.py`, `steps.py`, `offload.py`, `language.py` and `figures.py` are the parts, of one
  form: each lists its cases, and a case returns what it measured;
- `timing.py` alone takes times, `results.py` alone writes results, as `page.py` words them.
"""
