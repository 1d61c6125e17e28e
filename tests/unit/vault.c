/* See vault.h. */
#include "tests/unit/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "common/formats/digest.h"
#include "common/formats/lot.h"
#include "sealer/memory.h"
#include "tests/unit/folder.h"

struct vault vault;

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

static void write_text(const char *name, mode_t mode, const char *text)
{
    char *path = folder_file(name);
    FILE *f = fopen(path, "w");

    pki_must(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, mode) == 0, path);
    free(path);
}

static void make_token(void)
{
    char *text;

    text = mem_printf("directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", vault.folder);
    write_text("softhsm2.conf", 0600, text);
    free(text);
    write_text("pin", 0600, "1234\n");
    text = mem_printf("mkdir %s/tokens && export SOFTHSM2_CONF=%s/softhsm2.conf && "
                      "softhsm2-util --init-token --free --label coffre-test --so-pin 5678 --pin 1234 >/dev/null",
                      vault.folder, vault.folder);
    pki_must(system(text) == 0, "softhsm2-util (package softhsm2)");
    free(text);
    text = folder_file("softhsm2.conf");
    setenv("SOFTHSM2_CONF", text, 1);
    free(text);
    vault.token = (struct hsm_token){.module = module_path(), .label = "coffre-test", .pin_file = folder_file("pin")};
}

/* A certificate of `kind` for key `label` in the token. */
static struct pki_identity certify(const char *label, enum pki_kind kind)
{
    struct pki_identity id = pki_issue(&vault.ca, label, kind, (int64_t)(time(NULL) - 86400) * 1000, 30);
    struct err e = {0};
    struct hsm *h = hsm_open(&vault.token, label, &e);
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
    pki_must(id.key != NULL && X509_set_pubkey(id.cert, id.key) == 1 && X509_sign(id.cert, vault.ca.key, EVP_sha256()) > 0, "certificate");
    return id;
}

void vault_save(const struct pki_identity *id, const char *name)
{
    struct pki_identity holder = {vault.ca.key, id->cert}; /* the key file is only there because pki_save() writes two */

    pki_save(&holder, vault.folder, name);
}

struct trust *vault_trust(void)
{
    struct err e = {0};
    BIO *out = BIO_new(BIO_s_mem());
    struct trust *t;
    char *text;
    long len;

    pki_must(PEM_write_bio_X509(out, vault.ca.cert) == 1, "certificate of the authority");
    len = BIO_get_mem_data(out, &text);
    t = trust_new(slice_of(text, (size_t)len), &e);
    pki_must(t != NULL, e.text);
    BIO_free(out);
    return t;
}

static void write_config(void)
{
    char *text = mem_printf("vault:\n  operator: \"4512\"\n  number: 1\nstate_dir: state\nlog:\n  level: error\n"
                            "rabbitmq:\n  host: localhost\n  ca: ca.pem\npostgresql:\n  conninfo: host=/nowhere\n"
                            "regulator:\n  ca: ca.pem\n  recipients: [ca.pem]\n"
                            "sealer:\n  rabbitmq_certificate: ca.pem\n  rabbitmq_key: ca.key\n  module: %s\n  token: coffre-test\n"
                            "  pin: pin\n  seal_certificate: seal.pem\n  tsa_certificate: tsa.pem\n  memory: state/memory\n"
                            "  deadline: 2s\n  clock:\n    source: local-trusted\n",
                            vault.token.module);

    write_text("coffre.yml", 0600, text);
    free(text);
    vault.config = folder_file("coffre.yml");
    vault.memory = folder_file("state/memory");
    text = folder_file("state");
    pki_must(mkdir(text, 0700) == 0, "state folder");
    free(text);
}

static void give_birth(void)
{
    struct memory m;

    memory_init(&m);
    memset(vault.genesis, 7, sizeof vault.genesis);
    memcpy(m.genesis, vault.genesis, sizeof m.genesis);
    memcpy(m.operator_id, "4512", 5);
    m.vault = 1;
    pki_must(memory_store(&m, vault.memory, NULL), "memory");
    memory_free(&m);
}

int vault_set_up(void **state)
{
    struct err e = {0};

    pki_must(folder_make(state) == 0, "a temporary folder");
    vault.folder = folder_path();
    make_token();
    vault.ca = pki_issue(NULL, "Test CA", PKI_CA, (int64_t)(time(NULL) - 86400) * 1000, 60);
    pki_must(hsm_generate_rsa(&vault.token, "seal", 3072, &e) && hsm_generate_rsa(&vault.token, "tsa", 3072, &e), e.text);
    vault.seal = certify("seal", PKI_SEAL);
    vault.tsa = certify("tsa", PKI_TSA);
    vault_save(&vault.ca, "ca");
    vault_save(&vault.seal, "seal");
    vault_save(&vault.tsa, "tsa");
    write_config();
    give_birth();
    return 0;
}

int vault_tear_down(void **state)
{
    free((void *)(uintptr_t)vault.token.pin_file);
    free(vault.config);
    free(vault.memory);
    pki_free(&vault.ca);
    pki_free(&vault.seal);
    pki_free(&vault.tsa);
    return folder_remove(state);
}
