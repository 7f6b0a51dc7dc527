/* Links the static library, has it verify vouchers, prints the challenge id that it computes. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

uint32_t stiver_verify_vouchers(void);
size_t stiver_bind_challenge(uint8_t *id, size_t capacity);

int main(void) {
    uint8_t id[256];
    if (stiver_verify_vouchers() != 6) {
        fputs("the vouchers were not judged right\n", stderr);
        return 1;
    }
    size_t length = stiver_bind_challenge(id, sizeof id);
    if (length == 0) {
        fputs("the challenge was not bound\n", stderr);
        return 1;
    }
    printf("%.*s\n", (int)length, (const char *)id);
    return 0;
}
