/* echo ENDPOINT: a ROUTER that sends every message back, until it is killed. */
#include "common.h"

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: echo ENDPOINT\n");
        return 2;
    }
    void *router = open_socket(zmq_ctx_new(), ZMQ_ROUTER, argv[1], 1);
    say("ready");
    for (;;)
        forward(router, router);
}
