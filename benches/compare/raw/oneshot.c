/* oneshot ENDPOINT: the least that a process can do that connects, asks, prints the answer and exits. */
#include "common.h"

int main(int argc, char **argv)
{
    char answer[256];
    if (argc != 2) {
        fprintf(stderr, "usage: oneshot ENDPOINT\n");
        return 2;
    }
    void *context = zmq_ctx_new();
    void *dealer = zmq_socket(context, ZMQ_DEALER);
    check(dealer != NULL, "make a socket");
    check(zmq_connect(dealer, argv[1]) == 0, "connect");
    check(zmq_send(dealer, "Hello", 5, 0) == 5, "send");
    int size = zmq_recv(dealer, answer, sizeof answer, 0);
    check(size >= 0, "receive");
    fwrite(answer, 1, (size_t) size < sizeof answer ? (size_t) size : sizeof answer, stdout);
    putchar('\n');
    zmq_close(dealer);
    zmq_ctx_term(context);
    return 0;
}
