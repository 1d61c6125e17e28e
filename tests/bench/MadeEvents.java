import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.SplittableRandom;

/**
 * Invented events for load, of the shape coffre-deposit invents (ingest/deposit/made.c): no real person or address in them.
 * Made beforehand with their digests, so that making them is no part of what is measured. There are enough of them that
 * no window of a compressor sees one twice.
 */
final class MadeEvents {
    private static final String[] KINDS = {"CPTEALIM", "CPTERETRAIT", "PASPMISE", "PASPGAIN", "LOJIMISE", "LOJIGAIN", "CPTEABOND", "ACHATMONNAIE"};
    private static final String[] WORDS = ("rencontre manche tournoi match tirage grille cote combinaison journee finale course partie table jeton "
            + "bonus offre retrait virement solde mise gain plafond mensuel hebdomadaire numero reference controle saison groupe quart demi "
            + "classement libre mini").split(" ");

    private final SplittableRandom random = new SplittableRandom(4512);
    private final String operator, vault;
    final String[] bodies, digests;

    /** {@code count} events of exactly {@code size} bytes (at least 700), for an operator's vault, with hexadecimal SHA-256 digests. */
    MadeEvents(int count, int size, String operator, String vault) throws Exception {
        MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        this.operator = operator;
        this.vault = vault;
        bodies = new String[count];
        digests = new String[count];
        for (int i = 0; i < count; i++) {
            bodies[i] = event(size);
            digests[i] = HexFormat.of().formatHex(sha256.digest(bodies[i].getBytes(StandardCharsets.UTF_8)));
        }
    }

    private String event(int size) {
        String kind = KINDS[random.nextInt(KINDS.length)], end = "</Info>\n</" + kind + ">";
        StringBuilder text = new StringBuilder(size);
        text.append('<').append(kind).append(">\n");
        header(text);
        money(text);
        text.append("  <Info>");
        if (text.length() + end.length() > size)
            throw new IllegalArgumentException("an event of " + size + " bytes is too small for its fields");
        while (text.length() + end.length() < size)
            text.append(WORDS[random.nextInt(WORDS.length)]).append(' ');
        text.setLength(size - end.length());
        return text.append(end).toString();
    }

    private void header(StringBuilder text) {
        field(text, "IDOper", operator);
        field(text, "DateEvt", String.format("2601%02d%02d%02d%02d", random.nextInt(1, 29), random.nextInt(24), random.nextInt(60), random.nextInt(60)));
        field(text, "IDEvt", "<!--SAFE_ID-->");
        field(text, "IDJoueur", String.format("J%08d", random.nextInt(100000000)));
        field(text, "HashJoueur", String.format("%016X%016X%08X", random.nextLong(), random.nextLong(), random.nextInt()));
        field(text, "IDSession", String.format("S%012X", random.nextLong(1L << 48)));
        field(text, "IPJoueur", "198.51.100." + random.nextInt(1, 255));
        field(text, "IDCoffre", vault);
    }

    private void money(StringBuilder text) {
        int before = random.nextInt(100000), moved = random.nextInt(5000);
        field(text, "Tech", String.format("%08X", random.nextInt()));
        field(text, "SoldeAvant", amount(before));
        field(text, "SoldeMouvement", amount(moved));
        field(text, "SoldeApres", amount(before + moved));
    }

    private static String amount(int cents) {
        return String.format("%d.%02d", cents / 100, cents % 100);
    }

    private static void field(StringBuilder text, String name, String content) {
        text.append("  <").append(name).append('>').append(content).append("</").append(name).append(">\n");
    }
}
