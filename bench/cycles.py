#!/usr/bin/env python3
"""bench/cycles.py [--build FOLDER] [--cpu NAME]... [--many]: what the inner loops of the arm64 kernels cost.

llvm-mca predicts the cycles of a round of each loop from a model of the processor: all loads hit the first-level
cache and nothing is mispredicted, so this is the arithmetic beside which memory has to be slower. A loop is found in
the disassembly: a jump back over the most work of the wanted kind that holds no other loop with such work. Needs the
build of `cmake --preset arm64` and Debian's llvm-19 (older ones take an A57
for both processors) and binutils-aarch64-linux-gnu. The Cortex-A76 is the core of the Neoverse N1: take the latter.

--many: the loops for many tokens, whose work is products of a code of a weight and one of an activation.
"""
import argparse
import re
import shutil
import subprocess
import sys

# object, function, work that a round of its loop holds (instruction, how many), bytes of weights or pages per round
KERNELS = [
    ("Q8_0", "dot_dotprod", "rows_q8_0", "sdot", 16, 272),
    ("Q4_0", "dot_dotprod", "rows_q4_0", "sdot", 16, 144),
    ("Q4_K", "dot_dotprod", "rows_q4_k", "sdot", 16, 144),
    ("Q5_K", "dot_dotprod", "rows_q5_k", "sdot", 16, 176),
    ("Q6_K", "dot_dotprod", "rows_q6_k", "sdot", 16, 210),
    ("IQ4_XS", "dot_dotprod", "rows_iq4_xs", "sdot", 16, 136),
    ("MXFP4", "dot_dotprod", "rows_mxfp4", "sdot", 16, 136),
    ("F16", "dot_floats_neon", "terse_dot_floats_neon", "fmla", 16, 4 * 32),
    ("Q8_0, neon", "dot_neon", "rows_q8_0", "smull2", 16, 272),
    ("Q4_0, neon", "dot_neon", "rows_q4_0", "smull2", 16, 144),
    ("score f16, 4 heads", "attn_neon", "score_f16", "fmla", 16, 32),
    ("mix f16, 4 heads", "attn_neon", "mix_f16", "fmla", 16, 32),
    ("score q8, 4 heads", "attn_coded_dotprod", "score_q8", "sdot", 64, 8 * 34),
    ("mix q8, 4 heads", "attn_coded_dotprod", "mix_q8", "sdot", 18, 32),
    ("score q4, 4 heads", "attn_coded_dotprod", "score_q4", "sdot", 64, 8 * 18),
    ("mix q4, 4 heads", "attn_coded_dotprod", "mix_q4", "sdot", 32, 64),
]

# with --many: products per round in place of bytes
KERNELS_MANY = [
    ("Q8_0, dotprod", "dot_dotprod", "rows_q8_0", "sdot", 64, 1024),
    ("Q4_0, dotprod", "dot_dotprod", "rows_q4_0", "sdot", 64, 1024),
    ("Q4_K, dotprod", "dot_dotprod", "rows_q4_k", "sdot", 64, 1024),
    ("Q6_K, dotprod", "dot_dotprod", "rows_q6_k", "sdot", 64, 1024),
    ("Q8_0, Q4_0, IQ4, MXFP4, i8mm", "dot_i8mm", "pair_plain", "smmla", 32, 1024),
    ("Q4_K, Q5_K, Q4_1, Q5_1, i8mm", "dot_i8mm", "pair_min", "smmla", 32, 1024),
    ("Q6_K, Q3_K, i8mm", "dot_i8mm", "pair_sub", "smmla", 32, 1024),
    ("Q2_K, i8mm", "dot_i8mm", "pair_sub_low", "smmla", 32, 1024),
]


def disassemble(build, name, function):
    """The instructions of a function: (address, text, target of a jump or None)."""
    path = f"{build}/CMakeFiles/libterse.dir/simd/{name}.c.o"
    command = ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", f"--disassemble={function}", path]
    found = []
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        m = re.match(r"\s+([0-9a-f]+):\t([^/]+?)\s*(?://.*)?$", line)
        if not m:
            continue
        jump = re.match(r"(b|b\.\w+|cbn?z|tbn?z)\s+(?:.*,\s*)?([0-9a-f]+) <", m[2])
        found.append((int(m[1], 16), m[2], int(jump[2], 16) if jump else None))
    return found


def loop_with(code, what, n):
    """The longest loop that holds so many of these instructions and no smaller loop that has any: the one for a single
    token, where another shares what it unpacks among tokens. None if there is none."""
    def count(span):
        return sum(1 for _, text, _ in code[span[0]:span[1]] if re.match(what, text))

    at = {address: i for i, (address, _, _) in enumerate(code)}
    spans = {(at[to], i + 1) for i, (here, _, to) in enumerate(code) if to is not None and to <= here and to in at}
    working = [s for s in spans if count(s)]
    inner = [s for s in working if not any(t != s and s[0] <= t[0] and t[1] <= s[1] for t in working)]
    fitting = [code[a:b] for a, b in inner if count((a, b)) == n]
    return max(fitting, key=len, default=None)


def predict(code, cpu):
    """Cycles of a round when many follow each other."""
    text = "".join(re.sub(r"\b[0-9a-f]+ <[^>]*>", "round", t) + "\n" for _, t, _ in code if not t.startswith("nop"))
    tool = next(filter(shutil.which, (f"llvm-mca-{v}" for v in range(25, 13, -1))), "llvm-mca")
    command = [tool, "-march=aarch64", f"-mcpu={cpu}", "-mattr=+dotprod,+i8mm", "-iterations=200"]
    out = subprocess.run(command, input="round:\n" + text, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", out)[1]) / 200


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/arm64")
    parser.add_argument("--cpu", action="append")
    parser.add_argument("--many", action="store_true")
    options = parser.parse_args()
    cpus = options.cpu or (["neoverse-n2", "neoverse-v1"] if options.many else ["neoverse-n1"])
    what_counts, share = ("products", "products per cycle") if options.many else ("bytes", "cycles per byte")
    print(f"| kernel | {what_counts} | instructions |", *(f"{c}: cycles, {share} |" for c in cpus))
    print("| --- | --- | --- |", *("--- |" for _ in cpus))
    for title, name, function, what, n, size in KERNELS_MANY if options.many else KERNELS:
        code = loop_with(disassemble(options.build, name, function), what, n)
        if code is None:
            sys.exit(f"cycles: no loop with {n} {what} in {function} of {name}: KERNELS does not fit this compiler")
        cycles = [predict(code, c) for c in cpus]
        print(f"| {title} | {size} | {len(code)} |",
              *(f"{c:.0f}, {size / c:.1f} |" if options.many else f"{c:.0f}, {c / size:.2f} |" for c in cycles))


if __name__ == "__main__":
    main()
