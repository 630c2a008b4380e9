/*
 * rawloop client ENDPOINT MESSAGES BYTES WINDOW   sends that many messages, at most WINDOW of them unanswered
 *                                                 (0: no bound), and prints how many a second came back
 * rawloop proxy FRONT BACK                        a ROUTER for clients and one for its single worker: a broker's shape
 * rawloop worker ENDPOINT                         a DEALER that announces itself to a proxy, then echoes
 *
 * With `echo` for its other end the client measures DEALER-ROUTER; with proxy and worker, the same through a broker.
 */
#include "common.h"

#include <string.h>
#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void drop(zmq_msg_t *frame, void *socket, size_t bytes)
{
    check(zmq_msg_recv(frame, socket, 0) >= 0, "receive");
    if (zmq_msg_size(frame) != bytes || zmq_msg_more(frame)) {
        fprintf(stderr, "an echo differs from what was sent\n");
        exit(1);
    }
}

static int client(const char *endpoint, long messages, size_t bytes, long window)
{
    void *dealer = open_socket(zmq_ctx_new(), ZMQ_DEALER, endpoint, 0);
    char *body = malloc(bytes + 1);
    check(body != NULL, "allocate");
    memset(body, 'x', bytes);
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    /* One message ahead of the clock: the connection stands when it starts. */
    check(zmq_send(dealer, body, bytes, 0) >= 0, "send");
    drop(&frame, dealer, bytes);

    double start = seconds();
    long sent = 0, received = 0;
    while (received < messages) {
        while (sent < messages && (window == 0 || sent - received < window)) {
            check(zmq_send(dealer, body, bytes, 0) >= 0, "send");
            sent++;
            /* Answers are taken between whiles, else all of them would pile up here. */
            if (window == 0 && sent % 256 == 0)
                break;
        }
        zmq_pollitem_t item = {dealer, 0, ZMQ_POLLIN, 0};
        check(zmq_poll(&item, 1, window == 0 && sent < messages ? 0 : -1) >= 0, "poll");
        int events = item.revents;
        size_t size = sizeof events;
        while (events & ZMQ_POLLIN) {
            drop(&frame, dealer, bytes);
            received++;
            check(zmq_getsockopt(dealer, ZMQ_EVENTS, &events, &size) == 0, "look for more");
        }
    }
    double took = seconds() - start;
    printf("{\"messages\": %ld, \"bytes\": %zu, \"window\": %ld, \"seconds\": %.6f, \"per_second\": %.0f}\n", messages,
           bytes, window, took, (double) messages / took);
    return 0;
}

static _Noreturn void proxy(const char *front_endpoint, const char *back_endpoint)
{
    void *context = zmq_ctx_new();
    void *back = open_socket(context, ZMQ_ROUTER, back_endpoint, 1);
    puts("ready");
    fflush(stdout);
    /* Clients are let in once the worker is there: its first message is its id and an empty frame. */
    zmq_msg_t worker, frame;
    zmq_msg_init(&worker);
    zmq_msg_init(&frame);
    check(zmq_msg_recv(&worker, back, 0) >= 0, "receive");
    check(zmq_msg_recv(&frame, back, 0) >= 0, "receive");
    void *front = open_socket(context, ZMQ_ROUTER, front_endpoint, 1);
    puts("open");
    fflush(stdout);
    for (;;) {
        zmq_pollitem_t items[2] = {{front, 0, ZMQ_POLLIN, 0}, {back, 0, ZMQ_POLLIN, 0}};
        check(zmq_poll(items, 2, -1) >= 0, "poll");
        /* As a broker does, up to a bound for each side, so that neither starves the other. */
        for (int turn = 0; turn < 1000 && (items[0].revents & ZMQ_POLLIN); turn++) {
            zmq_msg_t to;
            zmq_msg_init(&to);
            zmq_msg_copy(&to, &worker);
            check(zmq_msg_send(&to, back, ZMQ_SNDMORE) >= 0, "send");
            forward(front, back);
            int events;
            size_t size = sizeof events;
            check(zmq_getsockopt(front, ZMQ_EVENTS, &events, &size) == 0, "look for more");
            items[0].revents = (short) events;
        }
        for (int turn = 0; turn < 1000 && (items[1].revents & ZMQ_POLLIN); turn++) {
            check(zmq_msg_recv(&frame, back, 0) >= 0, "receive");
            forward(back, front);
            int events;
            size_t size = sizeof events;
            check(zmq_getsockopt(back, ZMQ_EVENTS, &events, &size) == 0, "look for more");
            items[1].revents = (short) events;
        }
    }
}

static _Noreturn void worker(const char *endpoint)
{
    void *dealer = open_socket(zmq_ctx_new(), ZMQ_DEALER, endpoint, 0);
    check(zmq_send(dealer, "", 0, 0) == 0, "send");
    for (;;)
        forward(dealer, dealer);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "client") == 0)
        return client(argv[2], atol(argv[3]), (size_t) atol(argv[4]), atol(argv[5]));
    if (argc == 4 && strcmp(argv[1], "proxy") == 0)
        proxy(argv[2], argv[3]);
    if (argc == 3 && strcmp(argv[1], "worker") == 0)
        worker(argv[2]);
    fprintf(stderr, "usage: rawloop client ENDPOINT MESSAGES BYTES WINDOW | proxy FRONT BACK | worker ENDPOINT\n");
    return 2;
}
