"""The printed equations, transcribed scalar by scalar: what the cells are held to.

One file a family. A transcription is a function of one time step and one row, `step(p, x, s, m)`:

    p    the weights by their printed letters, NumPy arrays
    x    (I,)
    s    the state before, by name: "h", and "c" where there is one
    m    the mask of recurrent dropout, one factor for each unit of h; ones where there is none

and returns the new state and the gates by name, a list of H floats each. `scalar.run` loops over
time and rows.
"""
