# What went wrong in the log of a step, in few lines: which tests failed and why, and what did not compile.
# A part that a run of tests repeats at its end is shown once.

function show(line) {
    line = substr(line, 1, 300)
    if (!seen[line]++ && shown++ < 80) print "  " line
}

# libtest: the test, and the first lines of what it says.
/^test .* FAILED/ { show($0); next }
/ panicked at / { more = 5 }
# unittest: the test, and what the exception says below the traceback.
/^(FAIL|ERROR): / { show($0); in_python = 1; next }
in_python && /^[A-Za-z_][A-Za-z_.]*(Error|Exception|Exit|Expired|Interrupt)(:|$)/ { more = 3; in_python = 0 }
# Compilers, linters and tools.
/^error(\[|:)/ || /^Diff in / || /^make.*\*\*\*/ || /^[^ ]+\.py:[0-9]+/ || /^(docs|hurricane|README|tests)[^ ]*: / { more = 3 }

/^([-=]+)?$/ { more = 0 }
more > 0 { show($0); more-- }
