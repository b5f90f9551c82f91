/* The load generator's modes and its command line.  See load.h for the theory. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool one_visit(struct worker *worker, bool must_resume)
{
    struct connection link;
    bool good;

    if (!tls_open(worker, &link))
        return false;
    good = exchange(worker, link.ssl, true);
    worker->resumed += SSL_session_reused(link.ssl);
    errno = 0;
    if (good && must_resume && !SSL_session_reused(link.ssl))
        good = fail(worker, "the session was not resumed");
    tls_close(&link);
    return good;
}

/* The first visit fetches a ticket and warms the proxy up. */
static bool set_up_visits(struct worker *worker)
{
    bool good = one_visit(worker, false);

    errno = 0;
    if (good && worker->load->resume && !worker->session)
        return fail(worker, "no session ticket came");
    worker->resumed = 0;
    return good;
}

static bool work_visits(struct worker *worker)
{
    for (; worker->done < worker->share; worker->done++)
        if (!one_visit(worker, worker->load->resume))
            return false;
    return true;
}

static bool open_links(struct worker *worker, long count, bool with_request)
{
    worker->open = calloc((size_t)count, sizeof *worker->open);
    if (count && !worker->open)
        return fail(worker, "memory");
    for (; worker->open_count < count; worker->open_count++) {
        struct connection *link = &worker->open[worker->open_count];

        if (!tls_open(worker, link))
            return false;
        if (with_request && !exchange(worker, link->ssl, false)) {
            tls_close(link);
            return false;
        }
    }
    return true;
}

static bool set_up_kept(struct worker *worker)
{
    return open_links(worker, 1, true);
}

static bool work_kept(struct worker *worker)
{
    for (; worker->done < worker->share; worker->done++)
        if (!exchange(worker, worker->open[0].ssl, false))
            return false;
    return true;
}

/* The idle connections are opened in the set-up; there is no work but to hold them. */
static bool set_up_idle(struct worker *worker)
{
    return open_links(worker, worker->share, true);
}

static bool work_idle(struct worker *worker)
{
    worker->done = worker->open_count;
    return true;
}

static bool set_up_bulk(struct worker *worker)
{
    return open_links(worker, 1, false);
}

static bool work_download(struct worker *worker)
{
    for (; worker->done < worker->share; worker->done++)
        if (!download(worker, worker->open[0].ssl))
            return false;
    return true;
}

static bool work_upload(struct worker *worker)
{
    for (; worker->done < worker->share; worker->done++)
        if (!upload(worker, worker->open[0].ssl))
            return false;
    return true;
}

static const struct mode MODES[] = {
    {"visits", set_up_visits, work_visits},
    {"kept", set_up_kept, work_kept},
    {"idle", set_up_idle, work_idle},
    {"download", set_up_bulk, work_download},
    {"upload", set_up_bulk, work_upload},
};

static void *run_set_up(void *worker)
{
    ((struct worker *)worker)->load->mode->set_up(worker);
    return NULL;
}

static void *run_work(void *argument)
{
    struct worker *worker = argument;

    if (!worker->failed)
        worker->load->mode->work(worker);
    return NULL;
}

static void *run_close(void *argument)
{
    struct worker *worker = argument;

    while (worker->open_count > 0)
        tls_close(&worker->open[--worker->open_count]);
    SSL_SESSION_free(worker->session);
    free(worker->open);
    return NULL;
}

static void run_phase(struct worker *workers, int threads, void *(*phase)(void *))
{
    for (int i = 0; i < threads; i++)
        if (pthread_create(&workers[i].thread, NULL, phase, &workers[i]))
            abort();
    for (int i = 0; i < threads; i++)
        pthread_join(workers[i].thread, NULL);
}

/* Finds the first failure of any thread; threads that agreed on different things are one, too. */
static const char *first_error(const struct worker *workers, int threads)
{
    for (int i = 0; i < threads; i++) {
        if (workers[i].failed)
            return workers[i].error;
        if (memcmp(&workers[i].facts, &workers[0].facts, sizeof workers[0].facts))
            return "two threads agreed on different parameters";
    }
    return "";
}

static void print_result(const struct worker *workers, int threads)
{
    const struct facts *facts = &workers[0].facts;
    long done = 0, resumed = 0;

    for (int i = 0; i < threads; i++) {
        done += workers[i].done;
        resumed += workers[i].resumed;
    }
    printf("{\"done\": %ld, \"resumed\": %ld, \"error\": \"%s\", \"version\": \"%s\", \"cipher\": \"%s\", "
           "\"group\": \"%s\", \"key\": \"%s\"}\n",
           done, resumed, first_error(workers, threads), facts->version, facts->cipher, facts->group, facts->key);
    fflush(stdout);
}

static void wait_for_line(void)
{
    int octet;

    while ((octet = getchar()) != EOF && octet != '\n')
        ;
}

static int run_load(const struct load *load)
{
    struct worker *workers = calloc((size_t)load->threads, sizeof *workers);

    if (!workers)
        return 1;
    for (int i = 0; i < load->threads; i++) {
        workers[i].load = load;
        workers[i].share = load->count / load->threads + (i < load->count % load->threads);
    }
    run_phase(workers, load->threads, run_set_up);
    puts("ready");
    fflush(stdout);
    wait_for_line();
    run_phase(workers, load->threads, run_work);
    print_result(workers, load->threads);
    wait_for_line();
    run_phase(workers, load->threads, run_close);
    free(workers);
    return 0;
}

static const struct mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (!strcmp(MODES[i].name, name))
            return &MODES[i];
    return NULL;
}

struct wishes {
    const char *trusted, *certificate, *shared_key;
    bool ask_for_staple;
};

static bool parse(int argc, char **argv, struct load *load, struct wishes *wishes)
{
    int letter;

    while ((letter = getopt(argc, argv, "p:c:n:t:b:a:k:s:oOr")) != -1)
        switch (letter) {
        case 'p': load->address.sin_port = htons((unsigned short)atoi(optarg)); break;
        case 'a': wishes->trusted = optarg; break;
        case 'c': load->body = optarg; break;
        case 'n': load->count = atol(optarg); break;
        case 't': load->threads = atoi(optarg); break;
        case 'b': load->bytes = atoll(optarg); break;
        case 'k': wishes->certificate = optarg; break;
        case 's': wishes->shared_key = optarg; break;
        case 'o': wishes->ask_for_staple = true; break;
        case 'O': load->staple = true; break;
        case 'r': load->resume = true; break;
        default: return false;
        }
    load->shared_key = wishes->shared_key != NULL;
    load->mode = optind < argc ? find_mode(argv[optind]) : NULL;
    return optind < argc && load->body && strlen(load->body) < 256;
}

static SSL_CTX *wished_context(const struct wishes *wishes)
{
    SSL_CTX *context = client_context(wishes->trusted);

    if (!context || (wishes->certificate && !show_certificate(context, wishes->certificate))
        || (wishes->shared_key && !use_shared_key(context, wishes->shared_key)))
        return NULL;
    if (wishes->ask_for_staple)
        SSL_CTX_set_tlsext_status_type(context, TLSEXT_STATUSTYPE_ocsp);
    return context;
}

int main(int argc, char **argv)
{
    struct load load = {.threads = 1, .count = 1};
    struct wishes wishes = {.trusted = ""};

    load.address.sin_family = AF_INET;
    load.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    signal(SIGPIPE, SIG_IGN);
    fill_pattern();
    if (!parse(argc, argv, &load, &wishes)) {
        fprintf(stderr, "usage: load -p PORT -a TRUSTED -c REPLY [-n COUNT] [-t THREADS] [-b BYTES] [-k IDENTITY.PEM] "
                        "[-s NAME:HEX] [-oO] [-r] MODE\n");
        return 2;
    }
    if (!strcmp(argv[optind], "sink"))
        return run_sink(load.body);
    load.context = wished_context(&wishes);
    if (!load.mode || load.threads < 1 || !load.context) {
        fprintf(stderr, "load: unknown mode, no threads, or no certificate to trust\n");
        return 2;
    }
    return run_load(&load);
}
