//! Countries: alpha-3 codes in requests, English names in answers; and where a language is spoken.

/// Alpha-3 code and English name.
const COUNTRIES: [(&str, &str); 118] = [
    ("AFG", "Afghanistan"),
    ("ALB", "Albania"),
    ("DZA", "Algeria"),
    ("AND", "Andorra"),
    ("AGO", "Angola"),
    ("ARG", "Argentina"),
    ("ARM", "Armenia"),
    ("AUS", "Australia"),
    ("AUT", "Austria"),
    ("AZE", "Azerbaijan"),
    ("BHR", "Bahrain"),
    ("BGD", "Bangladesh"),
    ("BLR", "Belarus"),
    ("BEL", "Belgium"),
    ("BOL", "Bolivia"),
    ("BIH", "Bosnia and Herzegovina"),
    ("BRA", "Brazil"),
    ("BGR", "Bulgaria"),
    ("KHM", "Cambodia"),
    ("CMR", "Cameroon"),
    ("CAN", "Canada"),
    ("CPV", "Cape Verde"),
    ("CHL", "Chile"),
    ("CHN", "China"),
    ("COL", "Colombia"),
    ("CRI", "Costa Rica"),
    ("HRV", "Croatia"),
    ("CUB", "Cuba"),
    ("CYP", "Cyprus"),
    ("CZE", "Czech Republic"),
    ("DNK", "Denmark"),
    ("DOM", "Dominican Republic"),
    ("ECU", "Ecuador"),
    ("EGY", "Egypt"),
    ("SLV", "El Salvador"),
    ("GNQ", "Equatorial Guinea"),
    ("EST", "Estonia"),
    ("ETH", "Ethiopia"),
    ("FIN", "Finland"),
    ("FRA", "France"),
    ("GEO", "Georgia"),
    ("DEU", "Germany"),
    ("GHA", "Ghana"),
    ("GRC", "Greece"),
    ("GTM", "Guatemala"),
    ("HTI", "Haiti"),
    ("HND", "Honduras"),
    ("HKG", "Hong Kong"),
    ("HUN", "Hungary"),
    ("ISL", "Iceland"),
    ("IND", "India"),
    ("IDN", "Indonesia"),
    ("IRN", "Iran, Islamic Republic of"),
    ("IRQ", "Iraq"),
    ("IRL", "Ireland"),
    ("ISR", "Israel"),
    ("ITA", "Italy"),
    ("JAM", "Jamaica"),
    ("JPN", "Japan"),
    ("JOR", "Jordan"),
    ("KAZ", "Kazakhstan"),
    ("KEN", "Kenya"),
    ("KOR", "Korea, Republic of"),
    ("KWT", "Kuwait"),
    ("KGZ", "Kyrgyzstan"),
    ("LAO", "Laos"),
    ("LVA", "Latvia"),
    ("LBN", "Lebanon"),
    ("LTU", "Lithuania"),
    ("LUX", "Luxembourg"),
    ("MKD", "Macedonia"),
    ("MYS", "Malaysia"),
    ("MLT", "Malta"),
    ("MEX", "Mexico"),
    ("MDA", "Moldova"),
    ("MNG", "Mongolia"),
    ("MNE", "Montenegro"),
    ("MAR", "Morocco"),
    ("MOZ", "Mozambique"),
    ("MMR", "Myanmar"),
    ("NPL", "Nepal"),
    ("NLD", "Netherlands"),
    ("NZL", "New Zealand"),
    ("NIC", "Nicaragua"),
    ("NGA", "Nigeria"),
    ("NOR", "Norway"),
    ("PAK", "Pakistan"),
    ("PAN", "Panama"),
    ("PRY", "Paraguay"),
    ("PER", "Peru"),
    ("PHL", "Philippines"),
    ("POL", "Poland"),
    ("PRT", "Portugal"),
    ("PRI", "Puerto Rico"),
    ("QAT", "Qatar"),
    ("ROU", "Romania"),
    ("RUS", "Russia"),
    ("SAU", "Saudi Arabia"),
    ("SEN", "Senegal"),
    ("SRB", "Serbia"),
    ("SGP", "Singapore"),
    ("SVK", "Slovakia"),
    ("SVN", "Slovenia"),
    ("ZAF", "South Africa"),
    ("ESP", "Spain"),
    ("LKA", "Sri Lanka"),
    ("SWE", "Sweden"),
    ("CHE", "Switzerland"),
    ("SYR", "Syria"),
    ("TWN", "Taiwan"),
    ("THA", "Thailand"),
    ("TUN", "Tunisia"),
    ("TUR", "Turkey"),
    ("UKR", "Ukraine"),
    ("GBR", "United Kingdom"),
    ("USA", "United States"),
    ("URY", "Uruguay"),
    ("VNM", "Vietnam"),
];

/// Codes that exist, and under which nobody has recorded anything here.
const SILENT: [(&str, &str); 12] = [
    ("VEN", "Venezuela"),
    ("ARE", "United Arab Emirates"),
    ("UZB", "Uzbekistan"),
    ("TZA", "Tanzania"),
    ("UGA", "Uganda"),
    ("YEM", "Yemen"),
    ("ZMB", "Zambia"),
    ("ZWE", "Zimbabwe"),
    ("SDN", "Sudan"),
    ("SOM", "Somalia"),
    ("TTO", "Trinidad and Tobago"),
    ("LBY", "Libya"),
];

/// The English name of an alpha-3 code, in any case. Alpha-2 codes and names are refused.
pub(crate) fn name(code: &str) -> Option<&'static str> {
    COUNTRIES
        .iter()
        .chain(&SILENT)
        .find(|(known, _)| known.eq_ignore_ascii_case(code))
        .map(|(_, name)| *name)
}

/// Where the speakers of a language come from; the empty name is a speaker who told none.
pub(crate) fn speaking(language: &str) -> &'static [&'static str] {
    match language {
        "es" => &["Spain", "Mexico", "Argentina", "Colombia", "Peru"],
        "en" => &["United States", "United Kingdom", "Australia", "Canada"],
        "pt" => &["Brazil", "Portugal"],
        "fr" => &["France", "Canada", "Belgium"],
        "de" => &["Germany", "Austria"],
        "it" => &["Italy", "Switzerland"],
        "nl" => &["Netherlands", "Belgium"],
        "zh" => &["China", "Taiwan"],
        "ar" => &["Egypt", "Morocco"],
        "ru" => &["Russia", "Ukraine"],
        "ja" => &["Japan"],
        "ko" => &["Korea, Republic of"],
        "th" => &["Thailand"],
        "pl" => &["Poland"],
        "sv" => &["Sweden"],
        "no" | "nn" => &["Norway"],
        "da" => &["Denmark"],
        "fi" => &["Finland"],
        "el" => &["Greece", "Cyprus"],
        "tr" => &["Turkey"],
        "uk" => &["Ukraine"],
        "cs" => &["Czech Republic"],
        "hu" => &["Hungary"],
        "ro" => &["Romania"],
        "vi" => &["Vietnam"],
        "hi" => &["India"],
        "he" => &["Israel"],
        "ind" => &["Indonesia"],
        "ca" => &["Spain", "Andorra"],
        "eu" | "gl" => &["Spain"],
        _ => &["", "United States"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alpha_3_codes_are_countries() {
        assert_eq!(name("mex"), Some("Mexico"));
        assert_eq!(name("KOR"), Some("Korea, Republic of"));
        assert_eq!(name("MX"), None);
        assert_eq!(name("Mexico"), None);
    }

    #[test]
    fn speakers_come_from_countries_that_can_be_asked_for() {
        for language in ["es", "en", "pt", "fr", "de", "it", "el", "ca", "ko", "xx"] {
            for country in speaking(language).iter().filter(|country| !country.is_empty()) {
                assert!(COUNTRIES.iter().any(|(_, name)| name == country), "{country}");
            }
        }
    }
}
