/* Times of single requests, and what a load prints of them. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include "common.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int stopped;

static void *wait_for_end(void *unused)
{
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    atomic_store(&stopped, 1);
    return unused;
}

/* What goes on until it is told to end learns that by the end of its stdin. */
static inline void stop_at_end_of_stdin(void)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, wait_for_end, NULL) == 0, "start a thread");
}

struct samples {
    float *micros;
    long count, room;
};

static inline void add_sample(struct samples *all, double took)
{
    if (all->count == all->room) {
        all->room = all->room ? all->room * 2 : 65536;
        all->micros = realloc(all->micros, (size_t) all->room * sizeof *all->micros);
        check(all->micros != NULL, "allocate");
    }
    all->micros[all->count++] = (float) (took * 1e6);
}

static inline int by_size(const void *a, const void *b)
{
    float x = *(const float *) a, y = *(const float *) b;
    return (x > y) - (x < y);
}

static inline double quantile(const struct samples *all, double part)
{
    return all->count ? (double) all->micros[(long) (part * (double) (all->count - 1))] : 0.0;
}

static inline void print_samples(struct samples *all, double took)
{
    qsort(all->micros, (size_t) all->count, sizeof *all->micros, by_size);
    printf("{\"requests\": %ld, \"seconds\": %.6f, \"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f}\n", all->count, took, (double) all->count / took, quantile(all, 0.5), quantile(all, 0.99),
           quantile(all, 1.0));
}

#endif
