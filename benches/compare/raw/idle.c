/*
 * idle router ENDPOINT PEERS    a ROUTER that takes one message of each of so many peers, says "there", then waits
 * idle dealers ENDPOINT COUNT   so many DEALERs that say hello and then nothing
 */
#include "common.h"

#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        goto usage;
    int count = atoi(argv[3]);
    void *context = zmq_ctx_new();
    if (strcmp(argv[1], "router") == 0) {
        void *router = open_socket(context, ZMQ_ROUTER, argv[2], 1);
        say("ready");
        for (int i = 0; i < count; i++) {
            char bytes[16];
            check(zmq_recv(router, bytes, sizeof bytes, 0) >= 0, "receive");
            check(zmq_recv(router, bytes, sizeof bytes, 0) >= 0, "receive");
        }
        say("there");
    } else if (strcmp(argv[1], "dealers") == 0) {
        /* However the benchmark ends, these end with it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        check(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, count + 1) == 0, "set MAX_SOCKETS");
        for (int i = 0; i < count; i++)
            check(zmq_send(open_socket(context, ZMQ_DEALER, argv[2], 0), "", 0, 0) == 0, "send");
    } else {
        goto usage;
    }
    for (;;)
        pause();
usage:
    fprintf(stderr, "usage: idle router ENDPOINT PEERS | idle dealers ENDPOINT COUNT\n");
    return 2;
}
