/*
 * proxy route FRONT BACK WORKERS   a ROUTER for clients and one for so many workers: a broker's shape. A client gets
 *                                  the next worker when it is first heard, and keeps it
 * proxy work ENDPOINT THREADS      so many threads with a DEALER each, which announce themselves and then echo; of what
 *                                  is larger than a page they only say that it has come
 */
#include "common.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define ID_BYTES 5
#define CLIENTS 65536 /* numbered one after the other by libzmq */
#define TURNS 1000
#define PAGE_BYTES 4096

struct id {
    unsigned char bytes[ID_BYTES];
};

static void take_id(void *socket, struct id *id)
{
    check(zmq_recv(socket, id->bytes, ID_BYTES, 0) == ID_BYTES, "receive a routing id");
}

static _Noreturn void route(const char *front_endpoint, const char *back_endpoint, int workers)
{
    void *context = zmq_ctx_new();
    void *back = open_socket(context, ZMQ_ROUTER, back_endpoint, 1);
    struct id *ids = calloc((size_t) workers, sizeof *ids);
    int *worker_of = calloc(CLIENTS, sizeof *worker_of);
    int next = 0;
    check(ids && worker_of, "allocate");
    say("ready");
    /* Clients are let in once the workers are there: the first message of one is its id and an empty frame. */
    for (int i = 0; i < workers; i++) {
        char hello[1];
        take_id(back, &ids[i]);
        check(zmq_recv(back, hello, sizeof hello, 0) == 0, "receive a hello");
    }
    void *front = open_socket(context, ZMQ_ROUTER, front_endpoint, 1);
    say("open");
    for (;;) {
        zmq_pollitem_t items[2] = {{front, 0, ZMQ_POLLIN, 0}, {back, 0, ZMQ_POLLIN, 0}};
        struct id client, worker;
        check(zmq_poll(items, 2, -1) >= 0, "poll");
        /* As a broker does, up to a bound for each side, so that neither starves the other. */
        int readable = items[0].revents & ZMQ_POLLIN;
        for (int turn = 0; turn < TURNS && readable; turn++) {
            take_id(front, &client);
            int *mine = &worker_of[client.bytes[3] << 8 | client.bytes[4]];
            if (*mine == 0)
                *mine = 1 + next++ % workers;
            check(zmq_send(back, ids[*mine - 1].bytes, ID_BYTES, ZMQ_SNDMORE) >= 0, "send");
            check(zmq_send(back, client.bytes, ID_BYTES, ZMQ_SNDMORE) >= 0, "send");
            forward(front, back);
            readable = is_readable(front);
        }
        readable = items[1].revents & ZMQ_POLLIN;
        for (int turn = 0; turn < TURNS && readable; turn++) {
            take_id(back, &worker);
            forward(back, front);
            readable = is_readable(back);
        }
    }
}

struct place {
    void *context;
    const char *endpoint;
};

static void *work(void *argument)
{
    struct place *place = argument;
    void *dealer = open_socket(place->context, ZMQ_DEALER, place->endpoint, 0);
    check(zmq_send(dealer, "", 0, 0) == 0, "send");
    for (;;) {
        zmq_msg_t to, body;
        zmq_msg_init(&to);
        zmq_msg_init(&body);
        check(zmq_msg_recv(&to, dealer, 0) >= 0, "receive");
        check(zmq_msg_recv(&body, dealer, 0) >= 0, "receive");
        check(zmq_msg_send(&to, dealer, ZMQ_SNDMORE) >= 0, "send");
        if (zmq_msg_size(&body) > PAGE_BYTES) {
            zmq_msg_close(&body);
            zmq_msg_init(&body);
        }
        check(zmq_msg_send(&body, dealer, 0) >= 0, "send");
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "route") == 0 && atoi(argv[4]) > 0)
        route(argv[2], argv[3], atoi(argv[4]));
    if (argc == 4 && strcmp(argv[1], "work") == 0) {
        struct place place = {zmq_ctx_new(), argv[2]};
        for (int i = atoi(argv[3]); i > 0; i--) {
            pthread_t thread;
            check(pthread_create(&thread, NULL, work, &place) == 0, "start a thread");
        }
        for (;;)
            pause();
    }
    fprintf(stderr, "usage: proxy route FRONT BACK WORKERS | proxy work ENDPOINT THREADS\n");
    return 2;
}
