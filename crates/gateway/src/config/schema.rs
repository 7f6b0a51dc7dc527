//! Every key of the file, with an example: for errors that say what to write.
//!
//! `wire` reads the same keys; a test compares the two through a file that holds all of them.

/// A table of the file.
pub(super) struct Table {
    /// How it is spoken of: `[gateway]`.
    pub(super) name: &'static str,
    /// Its keys.
    pub(super) keys: &'static [Key],
}

/// A key of a table.
pub(super) struct Key {
    /// Its name.
    pub(super) name: &'static str,
    /// A whole line, or the head of a table.
    pub(super) example: &'static str,
    /// The table is refused without it.
    pub(super) required: bool,
    /// What it holds.
    pub(super) holds: Holds,
}

/// What a key holds.
pub(super) enum Holds {
    /// A value, or a list of values.
    Value,
    /// A table.
    Table(&'static Table),
    /// A list of tables.
    List(&'static Table),
    /// Tables by names that the user chooses.
    Named(&'static Table),
    /// Values by names that the user chooses.
    Values,
}

const fn key(name: &'static str, example: &'static str) -> Key {
    Key {
        name,
        example,
        required: false,
        holds: Holds::Value,
    }
}

const fn required(name: &'static str, example: &'static str) -> Key {
    Key {
        required: true,
        ..key(name, example)
    }
}

const fn table(name: &'static str, example: &'static str, holds: Holds) -> Key {
    Key {
        holds,
        ..key(name, example)
    }
}

/// The whole file.
pub(super) static FILE: Table = Table {
    name: "the file",
    keys: &[
        Key {
            required: true,
            ..table("gateway", "[gateway]", Holds::Table(&GATEWAY))
        },
        table("listener", "[[listener]]", Holds::List(&LISTENER)),
        table("upstreams", "[upstreams.NAME]", Holds::Named(&UPSTREAM)),
        table("limits", "[limits]", Holds::Table(&LIMITS)),
        table("metrics", "[metrics]", Holds::Table(&METRICS)),
        table("tracing", "[tracing]", Holds::Table(&TRACING)),
        table("discovery", "[discovery]", Holds::Table(&DISCOVERY)),
        table("cors", "[cors]", Holds::Table(&CORS)),
        table("ledger", "[ledger]", Holds::Table(&LEDGER)),
        table("sessions", "[sessions]", Holds::Table(&SESSIONS)),
        table("route", "[[route]]", Holds::List(&ROUTE)),
    ],
};

static GATEWAY: Table = Table {
    name: "[gateway]",
    keys: &[
        required("realm", "realm = \"api.example.com\""),
        key("listen", "listen = \"127.0.0.1:8402\""),
        key("upstream", "upstream = \"http://127.0.0.1:3000\""),
        key("data_dir", "data_dir = \"stiver-data\""),
        key("secret_file", "secret_file = \"challenge.secret\""),
        key("behind_tls_proxy", "behind_tls_proxy = true"),
        key("shadow", "shadow = true"),
        key("shadow_header", "shadow_header = true"),
        key("public_url", "public_url = \"https://api.example.com\""),
        key("trusted_proxies", "trusted_proxies = [\"127.0.0.1/32\"]"),
        key("log_format", "log_format = \"json\""),
        key("challenge_lifetime_s", "challenge_lifetime_s = 300"),
        key("upstream_timeout_s", "upstream_timeout_s = 30"),
        key("shutdown_grace_s", "shutdown_grace_s = 30"),
        key("body_limit_bytes", "body_limit_bytes = 1048576"),
        key("spool_total_bytes", "spool_total_bytes = 268435456"),
        key("connections_max", "connections_max = 10000"),
    ],
};

static LISTENER: Table = Table {
    name: "[[listener]]",
    keys: &[
        required("address", "address = \"0.0.0.0:8443\""),
        table("tls", TLS_EXAMPLE, Holds::Table(&TLS)),
        key("protocols", "protocols = [\"http/1.1\", \"h2\"]"),
    ],
};

const TLS_EXAMPLE: &str = "tls = { certificate = \"cert.pem\", key = \"key.pem\" }";

static TLS: Table = Table {
    name: "tls of [[listener]]",
    keys: &[
        required("certificate", TLS_EXAMPLE),
        required("key", TLS_EXAMPLE),
    ],
};

static UPSTREAM: Table = Table {
    name: "[upstreams.NAME]",
    keys: &[
        required("url", "url = \"http://127.0.0.1:3000\""),
        key("connect_timeout_s", "connect_timeout_s = 5"),
        key("timeout_s", "timeout_s = 30"),
        key("idle_timeout_s", "idle_timeout_s = 90"),
        key("idle_connections_max", "idle_connections_max = 64"),
        key("http2", "http2 = true"),
        key("ca_file", "ca_file = \"ca.pem\""),
        table(
            "set_headers",
            SET_HEADERS_EXAMPLE,
            Holds::Named(&SET_HEADER),
        ),
        key(
            "remove_request_headers",
            "remove_request_headers = [\"cookie\"]",
        ),
        key(
            "remove_response_headers",
            "remove_response_headers = [\"server\"]",
        ),
    ],
};

const SET_HEADERS_EXAMPLE: &str =
    "set_headers = { Authorization = { env = \"API_KEY\", prefix = \"Bearer \" } }";

static SET_HEADER: Table = Table {
    name: "a header of set_headers",
    keys: &[
        key("env", SET_HEADERS_EXAMPLE),
        key("file", "set_headers = { X-Key = { file = \"key.txt\" } }"),
        key("value", "set_headers = { X-Tenant = { value = \"a\" } }"),
        key("prefix", SET_HEADERS_EXAMPLE),
    ],
};

static LIMITS: Table = Table {
    name: "[limits]",
    keys: &[
        table(
            "per_source",
            "per_source = { per_second = 50, burst = 100 }",
            RATE_TABLE,
        ),
        table(
            "total",
            "total = { per_second = 2000, burst = 4000 }",
            RATE_TABLE,
        ),
        table(
            "challenges_per_source",
            "challenges_per_source = { per_second = 20, burst = 40 }",
            RATE_TABLE,
        ),
        key("sources_max", "sources_max = 100000"),
    ],
};

const RATE_TABLE: Holds = Holds::Table(&RATE);

static RATE: Table = Table {
    name: "a rate",
    keys: &[
        required("per_second", "{ per_second = 5, burst = 10 }"),
        key("burst", "{ per_second = 5, burst = 10 }"),
    ],
};

static METRICS: Table = Table {
    name: "[metrics]",
    keys: &[required("listen", "listen = \"127.0.0.1:9402\"")],
};

static TRACING: Table = Table {
    name: "[tracing]",
    keys: &[
        required("otlp_endpoint", "otlp_endpoint = \"http://127.0.0.1:4318\""),
        key("service_name", "service_name = \"stiver\""),
        key("sample_ratio_percent", "sample_ratio_percent = 100"),
    ],
};

static DISCOVERY: Table = Table {
    name: "[discovery]",
    keys: &[
        key("enabled", "enabled = true"),
        key("title", "title = \"Weather\""),
        key("version", "version = \"1\""),
        key("description", "description = \"Readings of a sensor\""),
        key("categories", "categories = [\"machine-data\"]"),
    ],
};

static CORS: Table = Table {
    name: "[cors]",
    keys: &[
        key("origins", "origins = [\"https://app.example.com\"]"),
        key("max_age_s", "max_age_s = 600"),
    ],
};

static LEDGER: Table = Table {
    name: "[ledger]",
    keys: &[
        table("currencies", "currencies = { kwh = 3 }", Holds::Values),
        key("accept_orders", "accept_orders = true"),
    ],
};

static SESSIONS: Table = Table {
    name: "[sessions]",
    keys: &[
        key("hash_chain", "hash_chain = false"),
        key("grace_s", "grace_s = 900"),
        key("idle_close_s", "idle_close_s = 86400"),
        key("settle_quiet_s", "settle_quiet_s = 600"),
        key("settle_after_units", "settle_after_units = 1000000"),
        key("settle_after_requests", "settle_after_requests = 1000"),
        key("channels_max", "channels_max = 1000000"),
        key("vouchers_per_second", "vouchers_per_second = 1000"),
    ],
};

static ROUTE: Table = Table {
    name: "[[route]]",
    keys: &[
        required("path", "path = \"/v1/**\""),
        key("methods", "methods = [\"GET\", \"POST\"]"),
        key("price", "price = \"0.01 USD\""),
        key(
            "prices",
            "prices = [\"0.000002 USD per token\", \"0.01 USD per minute\"]",
        ),
        table("session", "[route.session]", Holds::Table(&SESSION)),
        table("pricing", "[route.pricing]", Holds::Table(&PRICING)),
        key("access", "access = \"free\""),
        key("upstream", "upstream = \"NAME\""),
        key("timeout_s", "timeout_s = 30"),
        key("upgrade", "upgrade = true"),
        key("body", "body = \"stream\""),
        key("body_limit_bytes", "body_limit_bytes = 1048576"),
        table(
            "rate_limit",
            "rate_limit = { per_second = 5, burst = 10 }",
            RATE_TABLE,
        ),
        key("description", "description = \"One reading\""),
        table(
            "descriptions",
            "descriptions = { de = \"Ein Messwert\" }",
            Holds::Values,
        ),
        key("settle", "settle = \"after\""),
        key("shadow", "shadow = true"),
        table("free_quota", FREE_QUOTA_EXAMPLE, Holds::Table(&FREE_QUOTA)),
        key("on_failure", "on_failure = \"refund\""),
        key("max_attempts", "max_attempts = 3"),
        key("resume_window_s", "resume_window_s = 86400"),
        key("upstream_idempotent", "upstream_idempotent = true"),
        key("keep_responses", "keep_responses = \"always\""),
    ],
};

const FREE_QUOTA_EXAMPLE: &str = "free_quota = { requests = 10, per = \"day\" }";

static FREE_QUOTA: Table = Table {
    name: "free_quota of [[route]]",
    keys: &[
        required("requests", FREE_QUOTA_EXAMPLE),
        required("per", FREE_QUOTA_EXAMPLE),
    ],
};

static SESSION: Table = Table {
    name: "[route.session]",
    keys: &[
        key("window", "window = \"0.01 USD\""),
        key("suggested_deposit", "suggested_deposit = \"1 USD\""),
        key("deposit_min", "deposit_min = \"0.10 USD\""),
        key("deposit_max", "deposit_max = \"100 USD\""),
        key("min_voucher", "min_voucher = \"0.0001 USD\""),
        key("pause_s", "pause_s = 60"),
        key("stall_s", "stall_s = 60"),
        table(
            "usage",
            "usage = { token = { header = \"x-usage-tokens\" } }",
            Holds::Values,
        ),
    ],
};

static PRICING: Table = Table {
    name: "[route.pricing]",
    keys: &[
        key("base", "base = \"0.001 USD\""),
        key("cap", "cap = \"0.50 USD\""),
        key("round", "round = \"up\""),
        table("terms", TERM_EXAMPLE, Holds::List(&TERM)),
        table("choices", CHOICE_EXAMPLE, Holds::List(&CHOICE)),
        table("hook", HOOK_EXAMPLE, Holds::Table(&HOOK)),
    ],
};

const TERM_EXAMPLE: &str =
    "terms = [{ json = \"/max_tokens\", default = 4096, amount = \"0.01 USD\", per = 1000 }]";

static TERM: Table = Table {
    name: "an entry of terms in [route.pricing]",
    keys: &[
        key("json", TERM_EXAMPLE),
        key(
            "query",
            "terms = [{ query = \"n\", amount = \"0.01 USD\" }]",
        ),
        key(
            "header",
            "terms = [{ header = \"x-units\", amount = \"0.01 USD\" }]",
        ),
        key(
            "body_bytes",
            "terms = [{ body_bytes = true, amount = \"0.01 USD\", per = 1024 }]",
        ),
        key("default", TERM_EXAMPLE),
        required("amount", TERM_EXAMPLE),
        key("per", TERM_EXAMPLE),
    ],
};

const CHOICE_EXAMPLE: &str = "choices = [{ json = \"/model\", \
                              values = { small = \"0.01 USD\", large = \"0.03 USD\" } }]";

static CHOICE: Table = Table {
    name: "an entry of choices in [route.pricing]",
    keys: &[
        key("json", CHOICE_EXAMPLE),
        key("query", CHOICE_EXAMPLE),
        key("header", CHOICE_EXAMPLE),
        Key {
            required: true,
            ..table("values", CHOICE_EXAMPLE, Holds::Values)
        },
        key(
            "otherwise",
            "choices = [{ json = \"/model\", values = { small = \"0.01 USD\" }, \
             otherwise = \"0.03 USD\" }]",
        ),
    ],
};

const HOOK_EXAMPLE: &str = "hook = { url = \"http://127.0.0.1:9000/price\", timeout_ms = 500 }";

static HOOK: Table = Table {
    name: "hook of [route.pricing]",
    keys: &[
        required("url", HOOK_EXAMPLE),
        key("timeout_ms", HOOK_EXAMPLE),
        key(
            "on_failure",
            "hook = { url = \"http://127.0.0.1:9000/price\", on_failure = \"cap\" }",
        ),
        key(
            "headers",
            "hook = { url = \"http://127.0.0.1:9000/price\", headers = [\"x-tier\"] }",
        ),
    ],
};
