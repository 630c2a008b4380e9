/*
 * gear work PORT                  a worker of gearmand on this host that echoes
 * gear load PORT WINDOW REQUESTS BYTES   one job after the other, or WINDOW of them at a time; prints their times
 */
#include "samples.h"

#include <libgearman-1.0/gearman.h>
#include <string.h>

#define FUNCTION "echo"

static void good(gearman_return_t result, const char *error)
{
    if (gearman_failed(result)) {
        fprintf(stderr, "gearman: %s\n", error);
        exit(1);
    }
}

static void *echo(gearman_job_st *job, void *unused, size_t *size, gearman_return_t *result)
{
    (void) unused;
    *size = gearman_job_workload_size(job);
    void *answer = malloc(*size ? *size : 1);
    check(answer != NULL, "allocate");
    memcpy(answer, gearman_job_workload(job), *size);
    *result = GEARMAN_SUCCESS;
    return answer;
}

static _Noreturn void work(in_port_t port)
{
    gearman_worker_st *worker = gearman_worker_create(NULL);
    good(gearman_worker_add_server(worker, "127.0.0.1", port), gearman_worker_error(worker));
    good(gearman_worker_add_function(worker, FUNCTION, 0, echo, NULL), gearman_worker_error(worker));
    say("ready");
    for (;;)
        good(gearman_worker_work(worker), gearman_worker_error(worker));
}

static void one(gearman_client_st *client, const char *body, size_t bytes)
{
    gearman_return_t result;
    size_t size;
    void *answer = gearman_client_do(client, FUNCTION, NULL, body, bytes, &size, &result);
    good(result, gearman_client_error(client));
    check(size == bytes, "get an echo of what was sent");
    free(answer);
}

static int load(in_port_t port, long window, long requests, size_t bytes)
{
    gearman_client_st *client = gearman_client_create(NULL);
    good(gearman_client_add_server(client, "127.0.0.1", port), gearman_client_error(client));
    char *body = malloc(bytes + 1);
    check(body != NULL, "allocate");
    memset(body, 'x', bytes);
    one(client, body, bytes);
    struct samples samples = {0};
    double start = seconds();
    while (samples.count < requests) {
        double asked_at = seconds();
        if (window == 1) {
            one(client, body, bytes);
            add_sample(&samples, seconds() - asked_at);
            continue;
        }
        for (long n = 0; n < window; n++) {
            gearman_return_t result;
            gearman_client_add_task(client, NULL, NULL, FUNCTION, NULL, body, bytes, &result);
            good(result, gearman_client_error(client));
        }
        good(gearman_client_run_tasks(client), gearman_client_error(client));
        gearman_client_task_free_all(client);
        for (long n = 0; n < window; n++)
            add_sample(&samples, seconds() - asked_at);
    }
    print_samples(&samples, seconds() - start);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "work") == 0)
        work((in_port_t) atoi(argv[2]));
    if (argc == 6 && strcmp(argv[1], "load") == 0 && atol(argv[3]) > 0)
        return load((in_port_t) atoi(argv[2]), atol(argv[3]), atol(argv[4]), (size_t) atol(argv[5]));
    fprintf(stderr, "usage: gear work PORT | gear load PORT WINDOW REQUESTS BYTES\n");
    return 2;
}
