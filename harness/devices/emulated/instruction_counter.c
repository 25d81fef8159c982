/* Counts the instructions that an emulated program executes between two addresses.
 *
 * A plugin of QEMU's user-mode emulation of 64-bit Arm (plugin API version 1, as in QEMU 7.2). The
 * program says what to count by system calls that no kernel has: it is told that there is no such
 * call, and goes on. The numbers are those in harness/measure/counting.py.
 *
 * Classes are those of the top-level encoding of A64 instructions (Arm Architecture Reference
 * Manual, "A64 instruction set encoding"), bits 28 to 25. Loads and stores of vectors are loads and
 * stores here; so are those of SVE, which has an encoding of its own.
 *
 * QEMU installs no header for plugins in Debian: what is used of it is declared here.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct plugin_info;

typedef void (*translated_callback)(plugin_id, struct qemu_plugin_tb *);
typedef void (*system_call_callback)(plugin_id, unsigned int, int64_t, uint64_t, uint64_t, uint64_t,
                                     uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated_callback);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, system_call_callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

EXPORTED int qemu_plugin_version = 1;

enum { RANGE = 0x4c450001, RESET, WRITE };
enum { TOTAL, LOAD_STORE, SIMD, BRANCH, CLASSES };
enum { ADD = 0 };

static uint64_t counts[CLASSES];
static uint64_t first = 1, last = 0; /* nothing lies between them */
static const char *path;

static int class_of(uint32_t word) {
  uint32_t group = (word >> 25) & 15;
  if (group == 2) /* SVE: those with the highest bit set access memory */
    return word >> 31 ? LOAD_STORE : SIMD;
  if ((group & 5) == 4)
    return LOAD_STORE;
  if ((group & 7) == 7)
    return SIMD;
  if ((group & 14) == 10)
    return BRANCH;
  return TOTAL;
}

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  size_t size = qemu_plugin_tb_n_insns(block);
  for (size_t at = 0; at < size; at++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, at);
    uint64_t address = qemu_plugin_insn_vaddr(instruction);
    if (address < first || address >= last)
      continue;
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
    int found = class_of(word);
    qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, &counts[TOTAL], 1);
    if (found != TOTAL)
      qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, &counts[found], 1);
  }
}

static void write_counts(void) {
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file)
    return;
  fprintf(file, "%lu %lu %lu %lu\n", counts[TOTAL], counts[LOAD_STORE], counts[SIMD],
          counts[BRANCH]);
  fclose(file);
}

static void called(plugin_id id, unsigned int processor, int64_t number, uint64_t a, uint64_t b,
                   uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)processor, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number == RANGE) {
    first = a;
    last = b;
  } else if (number == RESET) {
    memset(counts, 0, sizeof counts);
  } else if (number == WRITE) {
    write_counts();
  }
}

EXPORTED int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int count,
                                 char **options) {
  (void)info;
  for (int at = 0; at < count; at++)
    if (!strncmp(options[at], "out=", 4))
      path = strdup(options[at] + 4);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
