/*
 * Reads frames (from standard input: type, version, hexadecimal digits) with the marshallers of Apache ActiveMQ itself and writes them again:
 * nothing may be left over and the bytes must be the same. One line for each version.
 */
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.util.Arrays;
import java.util.TreeMap;

import org.apache.activemq.openwire.OpenWireFormat;

public class Marshallers {
    /** Loose, as Coffre negotiates it. */
    static OpenWireFormat format(int version) {
        OpenWireFormat format = new OpenWireFormat(version);

        format.setTightEncodingEnabled(false);
        format.setCacheEnabled(false);
        format.setStackTraceEnabled(false);
        format.setSizePrefixDisabled(false);
        format.setVersion(version);
        format.setMaxFrameSize(Integer.MAX_VALUE);
        return format;
    }

    /** What is wrong with a frame, or null. */
    static String check(int version, byte[] frame) {
        try {
            DataInputStream in = new DataInputStream(new ByteArrayInputStream(frame));
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            Object command = format(version).unmarshal(in);

            if (in.available() != 0)
                return in.available() + " bytes are left over";
            format(version).marshal(command, new DataOutputStream(out));
            int differs = Arrays.mismatch(frame, out.toByteArray());
            return differs < 0 ? null : "written again it differs at byte " + differs + " of " + frame.length;
        } catch (Exception | LinkageError e) {
            return e.toString();
        }
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        TreeMap<Integer, Integer> good = new TreeMap<>();
        boolean failed = false;

        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            int version = Integer.parseInt(words[1]);
            byte[] sized = new BigInteger("01" + words[2], 16).toByteArray();
            String wrong = check(version, Arrays.copyOfRange(sized, 1, sized.length));

            if (wrong == null) {
                good.merge(version, 1, Integer::sum);
                continue;
            }
            System.out.println("not ok - version " + version + ": " + words[0] + ": " + wrong);
            failed = true;
        }
        for (int version : good.keySet())
            System.out.println("ok - version " + version + ": " + good.get(version) + " frames with every field are read and written the same by "
                + "ActiveMQ's own marshallers");
        System.exit(failed || good.size() != 12 ? 1 : 0);
    }
}
