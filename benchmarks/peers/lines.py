"""The lines that a worker of `tito bench` reads and writes; benchmarks/worker.h says what they mean."""
import sys
import time


def serve(works):
    try:
        answer_lines(works)
    except BrokenPipeError:  # the benchmark ended in the middle
        sys.stdout = None


def answer_lines(works):
    call = None
    for line in sys.stdin:
        verb, *words = line.split()
        if verb == "prepare":
            call = None  # gives the memory of the last one back first
            try:
                if words[0] not in works:
                    print("cannot there is no such work here", flush=True)
                    continue
                call, value = works[words[0]](*map(int, words[1:]))
                print(f"ready {value:.9g}", flush=True)
            except Exception as error:  # its sentence goes into the result
                print("cannot " + str(error).split("\n")[0], flush=True)
        elif verb == "run":
            calls = range(int(words[0]))
            start = time.perf_counter()
            for _ in calls:
                call()
            print(f"{time.perf_counter() - start:.9g} 0", flush=True)
