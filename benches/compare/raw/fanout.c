/*
 * fanout root ENDPOINT ASK_BYTES ANSWER_BYTES   a ROUTER that does what stdin says, a line each, until it ends:
 *                                               wait N   N leaves have said hello since it began: prints "there"
 *                                               go       one message to each leaf and one answer of each: prints how long
 *                                                        that took, from before the first send to the last answer
 * fanout leaf ENDPOINT ANSWER_BYTES             a DEALER that says hello, then answers, until it is killed
 *
 * A question begins with its number, and an answer repeats it: none of another turn is taken for one of this.
 */
#include "common.h"

#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>

struct peer {
    unsigned char id[16];
    size_t size;
};

static struct peer *peers;
static size_t known, room;

static void differs(const char *what)
{
    fprintf(stderr, "%s is not what was sent\n", what);
    exit(1);
}

static void meet(void *router, size_t wanted)
{
    while (known < wanted) {
        if (known == room) {
            room = room ? room * 2 : 64;
            peers = realloc(peers, room * sizeof *peers);
            check(peers != NULL, "allocate");
        }
        struct peer *peer = &peers[known++];
        int size = zmq_recv(router, peer->id, sizeof peer->id, 0);
        check(size >= 0, "receive");
        peer->size = (size_t) size;
        char hello[1];
        if (peer->size > sizeof peer->id || zmq_recv(router, hello, sizeof hello, 0) != 0)
            differs("a hello");
    }
}

static double ask_all(void *router, uint32_t number, size_t ask_bytes, size_t answer_bytes)
{
    char *ask = calloc(1, ask_bytes);
    check(ask != NULL, "allocate");
    memcpy(ask, &number, sizeof number);
    zmq_msg_t frame;
    zmq_msg_init(&frame);

    double start = seconds();
    for (size_t i = 0; i < known; i++) {
        check(zmq_send(router, peers[i].id, peers[i].size, ZMQ_SNDMORE) >= 0, "send");
        check(zmq_send(router, ask, ask_bytes, 0) >= 0, "send");
    }
    for (size_t answered = 0; answered < known; answered++) {
        check(zmq_msg_recv(&frame, router, 0) >= 0, "receive");
        check(zmq_msg_recv(&frame, router, 0) >= 0, "receive");
        if (zmq_msg_size(&frame) != answer_bytes || zmq_msg_more(&frame)
            || memcmp(zmq_msg_data(&frame), &number, sizeof number) != 0)
            differs("an answer");
    }
    double took = seconds() - start;
    zmq_msg_close(&frame);
    free(ask);
    return took;
}

static int root(const char *endpoint, size_t ask_bytes, size_t answer_bytes)
{
    int mandatory = 1;
    void *context = zmq_ctx_new();
    /* Leaves that are lost are an error, not less to do. */
    void *router = open_socket(context, ZMQ_ROUTER, endpoint, 1);
    check(zmq_setsockopt(router, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory) == 0, "set ROUTER_MANDATORY");
    puts("ready");
    fflush(stdout);
    char line[64];
    for (uint32_t number = 1; fgets(line, sizeof line, stdin) != NULL;) {
        size_t wanted;
        if (sscanf(line, "wait %zu", &wanted) == 1) {
            meet(router, wanted);
            puts("there");
        } else if (strcmp(line, "go\n") == 0) {
            double took = ask_all(router, number++, ask_bytes, answer_bytes);
            printf("{\"leaves\": %zu, \"seconds\": %.6f}\n", known, took);
        } else {
            fprintf(stderr, "not understood: %s", line);
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}

static _Noreturn void leaf(const char *endpoint, size_t answer_bytes)
{
    /* However the benchmark ends, its thousand leaves end with it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    void *dealer = open_socket(zmq_ctx_new(), ZMQ_DEALER, endpoint, 0);
    char *answer = calloc(1, answer_bytes);
    check(answer != NULL, "allocate");
    check(zmq_send(dealer, "", 0, 0) == 0, "send");
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    for (;;) {
        check(zmq_msg_recv(&frame, dealer, 0) >= (int) sizeof(uint32_t), "receive");
        memcpy(answer, zmq_msg_data(&frame), sizeof(uint32_t));
        check(zmq_send(dealer, answer, answer_bytes, 0) >= 0, "send");
    }
}

int main(int argc, char **argv)
{
    size_t sizes[2] = {0, 0};
    for (int i = 3; i < argc && i < 5; i++) {
        sizes[i - 3] = (size_t) atol(argv[i]);
        if (sizes[i - 3] < sizeof(uint32_t)) {
            fprintf(stderr, "a message has at least %zu bytes\n", sizeof(uint32_t));
            return 2;
        }
    }
    if (argc == 5 && strcmp(argv[1], "root") == 0)
        return root(argv[2], sizes[0], sizes[1]);
    if (argc == 4 && strcmp(argv[1], "leaf") == 0)
        leaf(argv[2], sizes[0]);
    fprintf(stderr, "usage: fanout root ENDPOINT ASK_BYTES ANSWER_BYTES | leaf ENDPOINT ANSWER_BYTES\n");
    return 2;
}
