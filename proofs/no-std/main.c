/* Links the static library and prints the challenge id that it computes. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

size_t stiver_bind_challenge(uint8_t *id, size_t capacity);

int main(void) {
    uint8_t id[256];
    size_t length = stiver_bind_challenge(id, sizeof id);
    if (length == 0) {
        fputs("the challenge was not bound\n", stderr);
        return 1;
    }
    printf("%.*s\n", (int)length, (const char *)id);
    return 0;
}
