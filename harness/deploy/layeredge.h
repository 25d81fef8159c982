/* Calls the network in model.so from C or C++, without TVM and without Python.
 *
 *     c++ -O2 example.cpp -L. -l:model.so -l:threads.so -Wl,-rpath,'$ORIGIN' -o example
 *
 * metadata.json describes the inputs and outputs: values lie one after the other, in C order. Those
 * that begin at a multiple of 64 bytes are read and written where they are, others are copied. Inputs
 * and outputs must not overlap.
 */
#ifndef LAYEREDGE_H
#define LAYEREDGE_H

#ifdef __cplusplus
extern "C" {
#endif

/* The memory of one inference. Each thread that runs the network needs one of its own. */
typedef struct layeredge_network layeredge_network;

/* NULL where there is not enough memory. */
layeredge_network *layeredge_new(void);

/* One inference. Returns 0, or something else where it fails. */
int layeredge_run(layeredge_network *network, const void *const *inputs, void *const *outputs);

void layeredge_delete(layeredge_network *network);

/* Why the last function of this thread failed. */
const char *layeredge_error(void);

/* How many threads an inference uses, the calling one included; before the first inference. The
 * environment variable TVM_NUM_THREADS says it otherwise, or the machine's processors. */
void layeredge_set_threads(int threads);

#ifdef __cplusplus
}
#endif

#endif
