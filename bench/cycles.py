#!/usr/bin/env python3
"""bench/cycles.py [--build FOLDER] [--write FILE]: what the inner loops of the arm64 kernels cost, as tables.

llvm-mca predicts the cycles of a round of each loop from a model of the processor: all loads hit the first-level
cache and nothing is mispredicted, so this is the arithmetic beside which memory has to be slower. A loop is found in
the disassembly: a jump back over the most work of the wanted kind that holds no other loop with such work. Needs the
build of `cmake --preset arm64` with gcc, Debian's llvm-19 (older ones take a Cortex-A57 for all of them) and
binutils-aarch64-linux-gnu. The Cortex-A76 is the core of the Neoverse N1, whose model llvm has.

Three tables: cycles per byte of decoding, products (multiplication and addition) per cycle of prompts, and tokens per
second of boards, as far as memory and these cycles allow. --write puts them into FILE (docs/arm.md) in place of what
stands between <!-- NAME --> and <!-- end -->; otherwise they are printed.
"""
import argparse
import re
import shutil
import subprocess
import sys

# title, object, function, work that a round of its loop holds (instruction, how many), bytes of weights or pages in it
DECODE = [
    ("Q8_0", "dot_dotprod", "rows_q8_0", "sdot", 16, 272),
    ("Q4_0", "dot_dotprod", "rows_q4_0", "sdot", 16, 144),
    ("Q4_K", "dot_dotprod", "rows_q4_k", "sdot", 16, 144),
    ("Q5_K", "dot_dotprod", "rows_q5_k", "sdot", 16, 176),
    ("Q6_K", "dot_dotprod", "rows_q6_k", "sdot", 16, 210),
    ("IQ4_XS", "dot_dotprod", "rows_iq4_xs", "sdot", 16, 136),
    ("MXFP4", "dot_dotprod", "rows_mxfp4", "sdot", 16, 136),
    ("F16", "dot_floats_neon", "terse_dot_floats_neon", "fcvtl", 16, 4 * 32),
    ("BF16", "dot_floats_neon", "terse_dot_floats_neon", "shll", 16, 4 * 32),
    ("score f16, 4 heads", "attn_neon", "score_f16", "fmla", 64, 128),
    ("mix f16, 4 heads", "attn_neon", "mix_f16", "fmla", 64, 128),
    ("score q8, 4 heads", "attn_coded_dotprod", "score_q8", "sdot", 64, 8 * 34),
    ("mix q8, 4 heads", "attn_coded_dotprod", "mix_q8", "sdot", 144, 256),
    ("score q4, 4 heads", "attn_coded_dotprod", "score_q4", "sdot", 64, 8 * 18),
    ("mix q4, 4 heads", "attn_coded_dotprod", "mix_q4", "sdot", 128, 256),
]
# The tier neon, on the processors that need it.
DECODE_NEON = [
    ("Q8_0", "dot_neon", "rows_q8_0", "smull2", 16, 272),
    ("Q4_0", "dot_neon", "rows_q4_0", "smull2", 16, 144),
    ("Q4_K", "dot_neon", "rows_q4_k", "smull2", 16, 144),
    ("Q6_K", "dot_neon", "rows_q6_k", "smull2", 16, 210),
    ("F16", "dot_floats_neon", "terse_dot_floats_neon", "fcvtl", 16, 4 * 32),
    ("score f16, 4 heads", "attn_neon", "score_f16", "fmla", 64, 128),
    ("mix f16, 4 heads", "attn_neon", "mix_f16", "fmla", 64, 128),
    ("score q8, 4 heads", "attn_coded_neon", "score_q8", "smull2", 32, 128),
    ("mix q8, 4 heads", "attn_coded_neon", "mix_q8", "smull2", 64, 128),
]
# Products in place of bytes.
PROMPT = [
    ("Q8_0, dotprod", "dot_dotprod", "rows_q8_0", "sdot", 64, 1024),
    ("Q4_0, dotprod", "dot_dotprod", "rows_q4_0", "sdot", 64, 1024),
    ("Q4_K, dotprod", "dot_dotprod", "rows_q4_k", "sdot", 64, 1024),
    ("Q6_K, dotprod", "dot_dotprod", "rows_q6_k", "sdot", 64, 1024),
    ("Q8_0, Q4_0, IQ4, MXFP4, i8mm", "dot_i8mm", "pair_plain", "smmla", 32, 1024),
    ("Q4_K, Q5_K, Q4_1, Q5_1, i8mm", "dot_i8mm", "pair_min", "smmla", 32, 1024),
    ("Q6_K, Q3_K, i8mm", "dot_i8mm", "pair_sub", "smmla", 32, 1024),
    ("Q2_K, i8mm", "dot_i8mm", "pair_sub_low", "smmla", 32, 1024),
]
# name, llvm's model, loops, cores, GHz, GB/s that all of them read: assumed, from what others have measured
BOARDS = [
    ("Raspberry Pi 4 (4 x A72)", "cortex-a72", DECODE_NEON, 4, 1.8, 5),
    ("Raspberry Pi 5 (4 x A76)", "neoverse-n1", DECODE, 4, 2.4, 15),
    ("RK3588 (its 4 A76)", "neoverse-n1", DECODE, 4, 2.4, 20),
]
# name, loop of its weights, bytes of weights read per token, values of keys and values per token of context
MODELS = [
    ("Llama-3.2-1B Q4_0", "Q4_0", 1.236e9 * 4.5 / 8, 2 * 16 * 8 * 64),
    ("Llama-3.2-1B Q8_0", "Q8_0", 1.236e9 * 8.5 / 8, 2 * 16 * 8 * 64),
    ("Llama-3.2-3B Q4_K", "Q4_K", 3.213e9 * 4.5 / 8, 2 * 28 * 8 * 128),
]
DEPTH = 8192


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


def loops_of(build, kernels):
    """(title, size, code of the loop) of each."""
    found = []
    for title, name, function, what, n, size in kernels:
        code = loop_with(disassemble(build, name, function), what, n)
        if code is None:
            sys.exit(f"cycles: no loop with {n} {what} in {function} of {name}: the tables do not fit this compiler")
        found.append((title, size, code))
    return found


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(x) for x in line) + " |\n" for line in lines)


def decode_table(build):
    rows = []
    for kernels, cpu in (DECODE, "neoverse-n1"), (DECODE_NEON, "cortex-a72"):
        for title, size, code in loops_of(build, kernels):
            cycles = predict(code, cpu)
            rows.append([title, cpu, size, len(code), f"{cycles:.0f}", f"{cycles / size:.2f}"])
    return table(["loop", "processor", "bytes", "instructions", "cycles", "cycles per byte"], rows)


def prompt_table(build):
    cpus = ["neoverse-n1", "neoverse-n2", "neoverse-v1"]
    rows = []
    for title, size, code in loops_of(build, PROMPT):
        rates = [f"{size / predict(code, c):.1f}" if "i8mm" not in title or c != "neoverse-n1" else "" for c in cpus]
        rows.append([title, size, len(code), *rates])
    return table(["loop", "products", "instructions", *(f"products per cycle, {c}" for c in cpus)], rows)


def boards_table(build):
    rows = []
    for board, cpu, kernels, cores, ghz, gbs in BOARDS:
        cost = {title: predict(code, cpu) / size for title, size, code in loops_of(build, kernels)}

        def seconds(n_byte, cycles):
            return n_byte / 1e9 / min(gbs, cores * ghz / cycles)

        for model, kind, n_byte, n_value in MODELS:
            speeds = []
            for kv, per_value in (None, 0), ("f16", 2), ("q8", 34 / 32):
                t = seconds(n_byte, cost[kind])
                if kv:
                    walk = (cost[f"score {kv}, 4 heads"] + cost[f"mix {kv}, 4 heads"]) / 2
                    t += seconds(n_value * per_value * DEPTH, walk)
                speeds.append(f"{1 / t:.1f}")
            rows.append([board, gbs, model, f"{cores * ghz / cost[kind]:.0f}", *speeds])
    return table(["board", "GB/s assumed", "model", "GB/s that the cores unpack", "tokens/s, empty cache",
                  f"{DEPTH} tokens, f16", f"{DEPTH} tokens, q8"], rows)


TABLES = {"decode": decode_table, "prompt": prompt_table, "boards": boards_table}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/arm64")
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    tables = {name: make(options.build) for name, make in TABLES.items()}
    if not options.write:
        print("\n".join(tables.values()))
        return
    with open(options.write, encoding="utf-8") as f:
        text = f.read()
    for name, lines in tables.items():
        text, n = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>\n{lines}\n\g<2>", text, flags=re.S)
        if n != 1:
            sys.exit(f"cycles: {options.write} has {n} places for <!-- {name} -->, not one")
    with open(options.write, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
