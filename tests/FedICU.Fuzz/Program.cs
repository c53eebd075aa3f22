using System.Globalization;
using System.Security.Cryptography;

namespace FedICU.Fuzz;

/// <summary>
/// <c>dotnet run -c Release --project tests/FedICU.Fuzz -- --seconds 60 --seed 1</c> runs all targets in turn. The exit
/// code is 1 if anything failed, and each failing case is saved. <c>--repro FILE</c> or <c>--target NAME --repro
/// SEED:CASE</c> runs one case again.
/// </summary>
internal static class Program
{
    // bytes of the largest part that --repro prints; chosen
    private const int MostShownBytes = 4000;

    private const string Usage =
        "[--seconds N] [--seed N|random] [--target NAME] [--cases N] [--out FOLDER] [--repro FILE|SEED:CASE] [--sharpfuzz TARGET] [--list]";

    public static int Main(string[] args)
    {
        double seconds = 60;
        ulong seed = 1;
        long cases = long.MaxValue;
        string output = "fuzz-failures";
        string? name = null, repro = null;
        bool isGuided = false;
        for (int i = 0; i < args.Length; i++)
        {
            string? value = i + 1 < args.Length ? args[i + 1] : null;
            switch (args[i])
            {
                case "--list":
                    Console.WriteLine(string.Join('\n', FuzzTarget.All.Select(known => known.Name)));
                    return 0;
                case "--seconds" when double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out seconds):
                case "--cases" when long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out cases):
                case "--seed" when ulong.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out seed):
                    break;
                case "--seed" when value == "random":
                    seed = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));
                    break;
                case "--target" when value is not null:
                    name = value;
                    break;
                case "--sharpfuzz" when value is not null:
                    (name, isGuided) = (value, true);
                    break;
                case "--out" when value is not null:
                    output = value;
                    break;
                case "--repro" when value is not null:
                    repro = value;
                    break;
                default:
                    Console.Error.WriteLine($"The option '{args[i]}' is unknown or has a wrong value; {Usage} was expected.");
                    return 2;
            }

            i++;
        }

        FuzzTarget[] targets = [.. FuzzTarget.All.Where(target => name is null || target.Name == name)];
        if (targets.Length == 0)
        {
            Console.Error.WriteLine(
                $"The target '{name}' is unknown; {string.Join(", ", FuzzTarget.All.Select(target => target.Name))} are known.");
            return 2;
        }

        if (repro is not null)
            return Repeat(repro, targets);
        if (isGuided)
            return RunGuided(targets[0]);
        int faults = 0;
        foreach (FuzzTarget target in targets)
        {
            var fuzzer = new Fuzzer(target, seed)
            {
                OnHang = input => EndHungProcess(input, output),
                OnCase = number => SaveCurrentCase(output, target, seed, number),
            };
            FuzzResult result = fuzzer.Run(TimeSpan.FromSeconds(seconds / targets.Length), cases);
            Console.WriteLine(
                $"{target.Name}: seed {seed}, {result.Cases} cases, {result.Accepted} accepted, {result.Faults.Count} faults");
            foreach ((FuzzFault fault, long count) in result.Faults)
            {
                Console.WriteLine($"  {target.Name} seed {seed} case {fault.Input.Case} ({count} like it): {fault.Message}");
                Console.WriteLine($"  saved: {Save(fault.Input, output)}");
            }

            faults += result.Faults.Count;
        }

        if (Directory.Exists(output))
            File.Delete(Current(output));
        Console.WriteLine(faults == 0 ? "no faults" : $"{faults} faults");
        return faults == 0 ? 0 : 1;
    }

    /// <summary>
    /// Runs under libFuzzer's driver, which is guided by coverage. Its bytes make the generator's choices.
    /// </summary>
    private static int RunGuided(FuzzTarget target)
    {
        SharpFuzz.Fuzzer.LibFuzzer.Run(bytes =>
        {
            var input = new FuzzInput(target.Name, 0, 0, target.Generate(new Choices(bytes)));
            if (new Fuzzer(target, 0).Try(input, out _) is { } fault)
                throw new FuzzFailure(fault.Message, fault.Signature);
        });
        return 0;
    }

    private static int Repeat(string repro, FuzzTarget[] targets)
    {
        FuzzInput input;
        if (repro.Split(':') is [var first, var second] &&
            ulong.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed) &&
            long.TryParse(second, NumberStyles.None, CultureInfo.InvariantCulture, out long number))
        {
            if (targets.Length > 1)
            {
                Console.Error.WriteLine("A case belongs to one target; --target NAME was expected.");
                return 2;
            }

            input = targets[0].Make(seed, number);
        }
        else if (targets.Length == 1 && !repro.EndsWith(".json", StringComparison.Ordinal))
        {
            // a file of bytes that libFuzzer saved
            input = new FuzzInput(targets[0].Name, 0, 0, targets[0].Generate(new Choices(File.ReadAllBytes(repro))));
        }
        else
        {
            input = FuzzInput.Load(repro);
            targets = [.. FuzzTarget.All.Where(target => target.Name == input.Target)];
        }

        foreach (FuzzPart part in input.Parts)
            Console.WriteLine($"{part.Name}: {(part.Bytes.Length <= MostShownBytes ? Escape(part.Bytes) : $"{part.Bytes.Length} bytes")}");
        FuzzFault? fault = new Fuzzer(targets[0], input.Seed).Try(input, out Outcome outcome);
        Console.WriteLine(fault is null ? $"no fault: {outcome}" : fault.Message);
        return fault is null ? 0 : 1;
    }

    private static string Escape(byte[] bytes) =>
        string.Concat(bytes.Select(b => b is >= 0x20 and < 0x7f ? ((char)b).ToString() : $"\\x{b:x2}"));

    private static string Save(FuzzInput input, string folder)
    {
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, $"{input.Target}-{input.Seed}-{input.Case}.json");
        input.Save(path);
        return path;
    }

    // if the process ends without a message, as by a stack overflow, this file tells which case did it
    private static void SaveCurrentCase(string folder, FuzzTarget target, ulong seed, long number)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Current(folder), $"--target {target.Name} --repro {seed}:{number}\n");
    }

    private static string Current(string folder) => Path.Combine(folder, "current.txt");

    private static void EndHungProcess(FuzzInput input, string folder)
    {
        Console.WriteLine($"{input.Target} seed {input.Seed} case {input.Case} hangs; saved: {Save(input, folder)}");
        Environment.Exit(1);
    }
}
