use alloc::{borrow::ToOwned, format, string::ToString, vec};

use proptest::prelude::*;

use super::*;

fn mpp(text: &str) -> Result<Frame<'_>, FrameError> {
    Frame::parse(text, Framing::Mpp)
}

fn need() -> Frame<'static> {
    Frame::NeedVoucher(NeedVoucher {
        channel: "0xabc".into(),
        required: 2_000,
        accepted: 1_000,
        deposit: 5_000,
    })
}

/// What mppx 0.11.0 writes, member by member.
#[test]
fn the_frames_of_mppx_are_read_and_written() {
    let receipt = r#"{"method":"tempo","intent":"session","status":"success","units":3}"#;
    let credential = "Payment eyJhIjoxfQ";
    let error = ErrorFrame {
        status: Some(402),
        message: "too little".into(),
        problem: None,
        challenges: vec![],
    };
    for (text, frame) in [
        (
            format!(r#"{{"mpp":"authorization","authorization":"{credential}"}}"#),
            Frame::Authorization(credential.into()),
        ),
        (
            r#"{"mpp":"message","data":"a \"b\"\n"}"#.to_owned(),
            Frame::Message("a \"b\"\n".into()),
        ),
        (
            r#"{"mpp":"payment-close-request"}"#.to_owned(),
            Frame::CloseRequest,
        ),
        (
            format!(r#"{{"mpp":"payment-close-ready","data":{receipt}}}"#),
            Frame::CloseReady(receipt),
        ),
        (
            format!(r#"{{"mpp":"payment-receipt","data":{receipt}}}"#),
            Frame::Receipt(receipt),
        ),
        (
            r#"{"mpp":"payment-need-voucher","data":{"channelId":"0xabc","requiredCumulative":"2000","acceptedCumulative":"1000","deposit":"5000"}}"#.to_owned(),
            need(),
        ),
        (
            r#"{"mpp":"payment-error","status":402,"message":"too little"}"#.to_owned(),
            Frame::Error(error.clone()),
        ),
    ] {
        assert_eq!(mpp(&text).unwrap(), frame);
        assert_eq!(frame.to_text(Framing::Mpp).unwrap(), text);
    }
}

/// What the crate mpp 0.18.2 writes.
#[test]
fn the_frames_of_the_mpp_crate_are_read_and_written() {
    let read = |text| Frame::parse(text, Framing::Type).unwrap();
    let error = ErrorFrame {
        status: None,
        message: "payment failed".into(),
        problem: None,
        challenges: vec![],
    };
    for (text, frame) in [
        (
            r#"{"type":"credential","credential":"Payment abc"}"#,
            Frame::Authorization("Payment abc".into()),
        ),
        (
            r#"{"type":"message","data":"ok"}"#,
            Frame::Message("ok".into()),
        ),
        (
            r#"{"type":"needVoucher","channelId":"0xabc","requiredCumulative":"2000","acceptedCumulative":"1000","deposit":"5000"}"#,
            need(),
        ),
        (
            r#"{"type":"receipt","receipt":{"status":"success"}}"#,
            Frame::Receipt(r#"{"status":"success"}"#),
        ),
        (
            r#"{"type":"challenge","challenge":{"id":"ch-1"}}"#,
            Frame::Challenge(r#"{"id":"ch-1"}"#),
        ),
        (
            r#"{"type":"error","error":"payment failed"}"#,
            Frame::Error(error.clone()),
        ),
    ] {
        assert_eq!(read(text), frame);
        assert_eq!(frame.to_text(Framing::Type).unwrap(), text);
    }
    // Its payers send any JSON.
    assert_eq!(
        read(r#"{"type":"message","data":{"prompt":"hello"}}"#),
        Frame::Message(r#"{"prompt":"hello"}"#.into())
    );
}

#[test]
fn what_is_no_frame_is_the_applications() {
    for text in [
        "",
        "hello",
        "22.5",
        "[1]",
        "{",
        r#"{"type":"message"}"#,
        "null",
        r#"{"a":"mpp"}"#,
    ] {
        assert_eq!(mpp(text).unwrap(), Frame::Plain(text), "{text}");
    }
    // It says so within, not at its top.
    let inner = r#"{"a":{"mpp":"payment-close-request"}}"#;
    assert_eq!(mpp(inner).unwrap(), Frame::Plain(inner));
    for text in [r#"{"type":"tick"}"#, r#"{"type":7}"#, r#"{"type":"#] {
        assert_eq!(
            Frame::parse(text, Framing::Type).unwrap(),
            Frame::Plain(text)
        );
    }
}

#[test]
fn a_frame_that_names_itself_a_payments_and_is_wrong_is_refused() {
    use FrameError::{Json, Member, Unknown};
    for (text, why) in [
        (r#"{"mpp":"payment-free"}"#, Unknown),
        (r#"{"mpp":1}"#, Member("mpp")),
        (r#"{"mpp":"message"}"#, Member("data")),
        (r#"{"mpp":"message","data":{}}"#, Member("data")),
        (
            r#"{"mpp":"authorization","authorization":[]}"#,
            Member("authorization"),
        ),
        (r#"{"mpp":"payment-receipt","data":"x"}"#, Member("data")),
        (
            r#"{"mpp":"payment-error","status":"402","message":""}"#,
            Member("status"),
        ),
        (
            r#"{"mpp":"payment-error","status":99999,"message":""}"#,
            Member("status"),
        ),
        (r#"{"mpp":"message","mpp":"authorization"}"#, Json),
        (r#"{"mpp":"message""#, Json),
        (r#"{"mpp":"message","data":"a"} {}"#, Json),
        (
            r#"{"mpp":"payment-need-voucher","data":{"channelId":"a","requiredCumulative":"-1","acceptedCumulative":"0","deposit":"0"}}"#,
            Member("requiredCumulative"),
        ),
        (
            r#"{"mpp":"payment-need-voucher","data":{"channelId":"a","requiredCumulative":7,"acceptedCumulative":"0","deposit":"0"}}"#,
            Member("data"),
        ),
    ] {
        assert_eq!(mpp(text), Err(why), "{text}");
    }
}

#[test]
fn a_naming_member_that_hides_behind_escapes_is_found() {
    let hidden = r#"{"\u006dpp":"payment-close-request"}"#;
    assert_eq!(mpp(hidden), Ok(Frame::CloseRequest));
    let twice = r#"{"mpp":"message","data":"a","\u006dpp":"payment-close-request"}"#;
    assert_eq!(mpp(twice), Err(FrameError::Json));
}

#[test]
fn a_frame_that_is_too_long_is_refused_unread() {
    let bytes = SOCKET_TEXT_BYTES_MAX + 1;
    let text = "{".repeat(bytes);
    assert_eq!(mpp(&text), Err(FrameError::TooLong { bytes }));
}

#[test]
fn an_error_brings_its_problem_and_challenges() {
    let frame = Frame::Error(ErrorFrame {
        status: Some(402),
        message: "sign for more".into(),
        problem: Some(r#"{"status":402}"#),
        challenges: vec!["Payment id=\"a\"".into(), "Payment id=\"b\"".into()],
    });
    let text = frame.to_text(Framing::Mpp).unwrap();
    assert_eq!(mpp(&text).unwrap(), frame);
}

#[test]
fn the_first_frame_tells_the_framing() {
    let of = Frame::framing_of;
    assert_eq!(
        of(r#"{"mpp":"authorization","authorization":"Payment a"}"#),
        Some(Framing::Mpp)
    );
    assert_eq!(
        of(r#"{"type":"credential","credential":"Payment a"}"#),
        Some(Framing::Type)
    );
    for other in [
        "Payment a",
        r#"{"type":"message","data":"a"}"#,
        r#"{"mpp":"message","data":"a"}"#,
    ] {
        assert_eq!(of(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn whatever_an_application_says_comes_out_as_it_went_in(
        data in any::<String>(), by_type in any::<bool>(),
    ) {
        let framing = if by_type { Framing::Type } else { Framing::Mpp };
        let frame = Frame::Message(data.into());
        let text = frame.to_text(framing).unwrap();
        prop_assert_eq!(Frame::parse(&text, framing), Ok(frame));
    }

    #[test]
    fn any_text_is_read_and_what_is_read_is_written_the_same(
        text in r#"[ {}"a-z:,\\0-9\[\]]{0,60}"#,
    ) {
        for framing in [Framing::Mpp, Framing::Type] {
            let Ok(frame) = Frame::parse(&text, framing) else { continue };
            if let Some(again) = frame.to_text(framing) {
                prop_assert_eq!(Frame::parse(&again, framing).unwrap(), frame);
            }
        }
    }

    #[test]
    fn figures_survive(
        required in any::<u128>(), accepted in any::<u128>(), deposit in any::<u128>(),
    ) {
        let frame = Frame::NeedVoucher(NeedVoucher {
            channel: required.to_string().into(), required, accepted, deposit,
        });
        for framing in [Framing::Mpp, Framing::Type] {
            let text = frame.to_text(framing).unwrap();
            prop_assert_eq!(Frame::parse(&text, framing), Ok(frame.clone()));
        }
    }
}
