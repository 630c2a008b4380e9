/*
 * load hits ENDPOINT SOCKETS WINDOW REQUESTS BYTES   SOCKETS DEALERs, each with at most WINDOW requests unanswered,
 *                                                    until REQUESTS were answered, or with 0 until stdin ends; prints
 *                                                    their times
 * load flow ENDPOINT WINDOW                          stdin in messages of 256 KiB, at most WINDOW of them unanswered;
 *                                                    prints how long that took
 */
#include "samples.h"

#include <string.h>

#define CHUNK_BYTES (256 * 1024)

struct dealer {
    void *socket;
    double *asked_at; /* a ring of WINDOW */
    long sent, received;
};

static void ask(struct dealer *dealer, const char *body, size_t bytes, long window)
{
    dealer->asked_at[dealer->sent++ % window] = seconds();
    check(zmq_send(dealer->socket, body, bytes, 0) >= 0, "send");
}

static double hear(struct dealer *dealer, size_t bytes, long window)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    check(zmq_msg_recv(&frame, dealer->socket, 0) >= 0, "receive");
    if (zmq_msg_size(&frame) != bytes || zmq_msg_more(&frame)) {
        fprintf(stderr, "an echo differs from what was sent\n");
        exit(1);
    }
    zmq_msg_close(&frame);
    return seconds() - dealer->asked_at[dealer->received++ % window];
}

static int hits(const char *endpoint, int sockets, long window, long requests, size_t bytes)
{
    void *context = zmq_ctx_new();
    struct dealer *dealers = calloc((size_t) sockets, sizeof *dealers);
    zmq_pollitem_t *items = calloc((size_t) sockets, sizeof *items);
    char *body = malloc(bytes + 1);
    struct samples samples = {0};
    check(dealers && items && body, "allocate");
    memset(body, 'x', bytes);
    if (requests == 0)
        stop_at_end_of_stdin();
    for (int i = 0; i < sockets; i++) {
        dealers[i].socket = open_socket(context, ZMQ_DEALER, endpoint, 0);
        dealers[i].asked_at = calloc((size_t) window, sizeof(double));
        check(dealers[i].asked_at != NULL, "allocate");
        items[i] = (zmq_pollitem_t) {dealers[i].socket, 0, ZMQ_POLLIN, 0};
        /* One message ahead of the clock: the connection stands when it starts. */
        ask(&dealers[i], body, bytes, window);
        hear(&dealers[i], bytes, window);
    }

    double start = seconds();
    long begun = 0;
    int outstanding = 0;
    for (int i = 0; i < sockets; i++)
        for (long n = 0; n < window && (requests == 0 || begun < requests); n++, begun++, outstanding++)
            ask(&dealers[i], body, bytes, window);
    while (outstanding > 0) {
        /* One socket is waited for by taking its message. */
        if (sockets > 1 || window > 1)
            check(zmq_poll(items, sockets, -1) >= 0, "poll");
        else
            items[0].revents = ZMQ_POLLIN;
        for (int i = 0; i < sockets; i++) {
            if (!(items[i].revents & ZMQ_POLLIN))
                continue;
            long heard = 0;
            do {
                add_sample(&samples, hear(&dealers[i], bytes, window));
                heard++;
                outstanding--;
            } while (window > 1 && is_readable(dealers[i].socket));
            for (; heard > 0 && (requests == 0 ? !atomic_load(&stopped) : begun < requests); heard--) {
                ask(&dealers[i], body, bytes, window);
                begun++;
                outstanding++;
            }
        }
    }
    print_samples(&samples, seconds() - start);
    return 0;
}

static int flow(const char *endpoint, long window)
{
    void *dealer = open_socket(zmq_ctx_new(), ZMQ_DEALER, endpoint, 0);
    long sent = 0, answered = 0;
    int ended = 0;
    double bytes = 0, start = seconds();
    while (!ended || answered < sent) {
        while (!ended && sent - answered < window) {
            zmq_msg_t chunk;
            check(zmq_msg_init_size(&chunk, CHUNK_BYTES) == 0, "allocate");
            ssize_t got = read(0, zmq_msg_data(&chunk), CHUNK_BYTES);
            if (got != CHUNK_BYTES) {
                /* What is read is a file of whole chunks. */
                ended = 1;
                zmq_msg_close(&chunk);
                break;
            }
            check(zmq_msg_send(&chunk, dealer, 0) >= 0, "send");
            bytes += CHUNK_BYTES;
            sent++;
        }
        if (answered < sent) {
            char answer[1];
            check(zmq_recv(dealer, answer, sizeof answer, 0) >= 0, "receive");
            answered++;
        }
    }
    printf("{\"bytes\": %.0f, \"seconds\": %.6f}\n", bytes, seconds() - start);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "hits") == 0 && atoi(argv[3]) > 0 && atol(argv[4]) > 0)
        return hits(argv[2], atoi(argv[3]), atol(argv[4]), atol(argv[5]), (size_t) atol(argv[6]));
    if (argc == 4 && strcmp(argv[1], "flow") == 0 && atol(argv[3]) > 0)
        return flow(argv[2], atol(argv[3]));
    fprintf(stderr, "usage: load hits ENDPOINT SOCKETS WINDOW REQUESTS BYTES | load flow ENDPOINT WINDOW\n");
    return 2;
}
