/* See vault.h. */
#include "tests/unit/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/formats/digest.h"
#include "common/formats/lot.h"
#include "sealer/memory.h"

static const char *module_path(void)
{
    static const char *const places[] = {"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                                         "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    pki_must(false, "finding libsofthsm2.so (package softhsm2)");
    return NULL;
}

static void write_text(const struct vault *v, const char *name, mode_t mode, const char *text)
{
    char *path = mem_printf("%s/%s", v->folder, name);
    FILE *f = fopen(path, "w");

    pki_must(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, mode) == 0, path);
    free(path);
}

void vault_make_token(struct vault *v)
{
    char *text;

    *v = (struct vault){.folder = "/tmp/coffre-vault-XXXXXX"};
    pki_must(mkdtemp(v->folder) != NULL, "a temporary folder");
    text = mem_printf("directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", v->folder);
    write_text(v, "softhsm2.conf", 0600, text);
    free(text);
    write_text(v, "pin", 0600, "1234\n");
    text = mem_printf("mkdir %s/tokens && export SOFTHSM2_CONF=%s/softhsm2.conf && "
                      "softhsm2-util --init-token --free --label coffre-test --so-pin 5678 --pin 1234 >/dev/null",
                      v->folder, v->folder);
    pki_must(system(text) == 0, "softhsm2-util (package softhsm2)");
    free(text);
    text = mem_printf("%s/softhsm2.conf", v->folder);
    setenv("SOFTHSM2_CONF", text, 1);
    free(text);
    v->token = (struct hsm_token){.module = module_path(), .label = "coffre-test", .pin_file = mem_printf("%s/pin", v->folder)};
}

struct pki_identity vault_certify(const struct vault *v, const char *label, enum pki_kind kind)
{
    struct pki_identity id = pki_issue(&v->ca, label, kind, (int64_t)(time(NULL) - 86400) * 1000, 30);
    struct err e = {0};
    struct hsm *h = hsm_open(&v->token, label, &e);
    uint8_t *der = NULL;
    const uint8_t *at;
    int len;

    pki_must(h != NULL, e.text);
    /* A public key of its own: nothing of the token may outlive hsm_close(). */
    len = i2d_PUBKEY(hsm_key(h), &der);
    hsm_close(h);
    at = der;
    EVP_PKEY_free(id.key);
    id.key = d2i_PUBKEY(NULL, &at, len);
    OPENSSL_free(der);
    pki_must(id.key != NULL && X509_set_pubkey(id.cert, id.key) == 1 && X509_sign(id.cert, v->ca.key, EVP_sha256()) > 0, "certificate");
    return id;
}

static void save(const struct vault *v, const struct pki_identity *id, const char *name)
{
    struct pki_identity holder = {v->ca.key, id->cert}; /* the key file is only there because pki_save() writes two */

    pki_save(&holder, v->folder, name);
}

static void write_config(struct vault *v)
{
    char *text = mem_printf("vault:\n  operator: \"4512\"\n  number: 1\nstate_dir: state\nlog:\n  level: error\n"
                            "rabbitmq:\n  host: localhost\n  ca: ca.pem\npostgresql:\n  conninfo: host=/nowhere\n"
                            "regulator:\n  ca: ca.pem\n  recipients: [ca.pem]\n"
                            "sealer:\n  rabbitmq_certificate: ca.pem\n  rabbitmq_key: ca.key\n  module: %s\n  token: coffre-test\n"
                            "  pin: pin\n  seal_certificate: seal.pem\n  tsa_certificate: tsa.pem\n  memory: state/memory\n"
                            "  deadline: 2s\n  clock:\n    source: local-trusted\n",
                            v->token.module);

    write_text(v, "coffre.yml", 0600, text);
    free(text);
    v->config = mem_printf("%s/coffre.yml", v->folder);
    v->memory = mem_printf("%s/state/memory", v->folder);
    text = mem_printf("%s/state", v->folder);
    pki_must(mkdir(text, 0700) == 0, "state folder");
    free(text);
}

static void give_birth(struct vault *v)
{
    struct memory m;

    memory_init(&m);
    memset(v->genesis, 7, sizeof v->genesis);
    memcpy(m.genesis, v->genesis, sizeof m.genesis);
    memcpy(m.operator_id, "4512", 5);
    m.vault = 1;
    pki_must(memory_store(&m, v->memory, NULL), "memory");
    memory_free(&m);
}

void vault_make(struct vault *v)
{
    struct err e = {0};

    vault_make_token(v);
    v->ca = pki_issue(NULL, "Test CA", PKI_CA, (int64_t)(time(NULL) - 86400) * 1000, 60);
    pki_must(hsm_generate_rsa(&v->token, "seal", 3072, &e) && hsm_generate_rsa(&v->token, "tsa", 3072, &e), e.text);
    v->seal = vault_certify(v, "seal", PKI_SEAL);
    v->tsa = vault_certify(v, "tsa", PKI_TSA);
    save(v, &v->ca, "ca");
    save(v, &v->seal, "seal");
    save(v, &v->tsa, "tsa");
    write_config(v);
    give_birth(v);
}

void vault_remove(struct vault *v)
{
    char *command = mem_printf("rm -rf '%s'", v->folder);

    pki_must(system(command) == 0, command);
    free(command);
    free((void *)(uintptr_t)v->token.pin_file);
    free(v->config);
    free(v->memory);
    pki_free(&v->ca);
    pki_free(&v->seal);
    pki_free(&v->tsa);
}
