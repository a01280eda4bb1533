//! Sizes of pictures, checked by arithmetic, and the tokens and prices that follow from them.

use super::error::ApiError;

/// `WxH` as two numbers.
pub(crate) fn parse(size: &str) -> Option<(u32, u32)> {
    let (width, height) = size.split_once('x')?;
    let plain =
        |text: &str| !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (plain(width) && plain(height)).then_some(())?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// The free-form sizes of gpt-image-2 and later (`openai.md` section 2.1).
pub(crate) fn free_form(size: &str) -> Result<(u32, u32), ApiError> {
    let complain = |why: &str| Err(ApiError::image("size", format!("Invalid size '{size}'. {why}")));
    let Some((width, height)) = parse(size) else {
        return complain("The size must be 'auto' or 'WIDTHxHEIGHT' in pixels.");
    };
    let (long, short) = (width.max(height), width.min(height));
    let area = u64::from(width) * u64::from(height);
    if !width.is_multiple_of(16) || !height.is_multiple_of(16) {
        return complain("Width and height must both be divisible by 16.");
    }
    if long > 3840 {
        return complain("The longest edge must be at most 3840 pixels.");
    }
    if long > 3 * short {
        return complain("The aspect ratio must be between 1:3 and 3:1.");
    }
    if area < 655_360 {
        return complain("Requested resolution is below the current minimum pixel budget.");
    }
    if area > 8_294_400 {
        return complain("Requested resolution exceeds the current pixel budget.");
    }
    Ok((width, height))
}

/// One of a closed list of sizes.
pub(crate) fn listed(size: &str, list: &[&str]) -> Result<(u32, u32), ApiError> {
    match parse(size) {
        Some(size_of) if list.contains(&size) => Ok(size_of),
        _ => {
            let list: Vec<String> = list
                .iter()
                .chain(&["auto"])
                .map(|size| format!("'{size}'"))
                .collect();
            let message = format!("Invalid size '{size}'. Supported sizes are {}.", list.join(", "));
            Err(ApiError::image("size", message))
        }
    }
}

/// Output tokens of one picture (`openai.md` section 9; what is not published there is interpolated by area).
pub(crate) fn output_tokens(family: &str, quality: &str, width: u32, height: u32) -> u64 {
    let area = u64::from(width) * u64::from(height);
    // Square, portrait, landscape.
    let table: [u64; 3] = match (family, quality) {
        ("gpt-image-2", "low") => [196, 167, 167],
        ("gpt-image-2", "high") => [7033, 5500, 5500],
        ("gpt-image-2", _) => [1767, 1367, 1367],
        ("gpt-image-2.5", "low") => [196, 167, 167],
        ("gpt-image-2.6", "low") => [686, 584, 584],
        ("gpt-image-2.5", "medium") => [433, 340, 340],
        ("gpt-image-2.6", "medium") => [1516, 1190, 1190],
        ("gpt-image-2.5" | "gpt-image-2.6", "high") => [1767, 1367, 1367],
        ("gpt-image-2.5" | "gpt-image-2.6", "xhigh") => [3500, 2700, 2700],
        ("gpt-image-2.5" | "gpt-image-2.6", _) => [7033, 5500, 5500],
        (_, "low") => [272, 408, 400],
        (_, "high") => [4160, 6240, 6208],
        _ => [1056, 1584, 1568],
    };
    let [square, portrait, landscape] = table;
    match (width, height) {
        (1024, 1024) => square,
        (1024, 1536) => portrait,
        (1536, 1024) => landscape,
        _ => (square * area).div_ceil(1024 * 1024),
    }
}

/// USD per million tokens: text in, picture out.
pub(crate) fn rates(family: &str) -> (f64, f64) {
    match family {
        "gpt-image-1-mini" => (2.0, 8.0),
        "gpt-image-1" => (5.0, 40.0),
        "gpt-image-1.5" => (5.0, 32.0),
        _ => (5.0, 30.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_form_sizes_follow_the_rules() {
        for size in [
            "1024x1024",
            "3840x2160",
            "2160x3840",
            "1536x512",
            "2048x1152",
            "1280x512",
        ] {
            assert!(free_form(size).is_ok(), "{size}");
        }
        for size in [
            "1000x1000",
            "512x512",
            "4096x1024",
            "1600x512",
            "3840x3840",
            "1024",
            "x",
            "1024X1024",
            "auto",
            "-16x16",
        ] {
            assert!(free_form(size).is_err(), "{size}");
        }
    }

    #[test]
    fn a_low_square_of_gpt_image_2_costs_what_the_page_says() {
        let (_, out) = rates("gpt-image-2");
        let usd = output_tokens("gpt-image-2", "low", 1024, 1024) as f64 * out / 1e6;
        assert!((usd - 0.006).abs() < 0.0003);
    }
}
