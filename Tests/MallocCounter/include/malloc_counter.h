// Counts what the process allocates: linked into a program, these functions stand before glibc's.
#ifndef TRANCHE_MALLOC_COUNTER_H
#define TRANCHE_MALLOC_COUNTER_H

/// Calls of malloc and its kin since the process started, of all threads.
long tranche_malloc_count(void);

#endif
