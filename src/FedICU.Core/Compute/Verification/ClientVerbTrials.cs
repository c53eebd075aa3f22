using System.Numerics;
using FedICU.Compute.Reference;

namespace FedICU.Compute.Verification;

/// <summary>Compares the verbs of the client with the reference, each on many lengths.</summary>
internal sealed unsafe class ClientVerbTrials(IClientBackend backend)
{
    private const double Epsilon = TrialErrors.Epsilon;

    /// <summary>The largest difference of two z-scores that a backend may decide either way. Chosen.</summary>
    private const double TieBound = 1e-9;

    private static readonly ReferenceBackend Reference = ReferenceBackend.Instance;

    public void AddMoments(VerificationTrial trial)
    {
        trial.ForEachImportance((inputs, length) =>
        {
            MagnitudeMoments actualU = default, actualG = default, expectedU = default, expectedG = default;
            backend.AddMoments(inputs, length, ref actualU, ref actualG);
            Reference.AddMoments(inputs, length, ref expectedU, ref expectedG);
            trial.Errors.CompareMoments(actualU, expectedU);
            trial.Errors.CompareMoments(actualG, expectedG);
        });
    }

    public void SelectImportant(VerificationTrial trial)
    {
        trial.ForEachImportance((inputs, length) =>
        {
            (ImportanceScale update, ImportanceScale received) = GetScales(inputs, length);
            TrySelect(trial, inputs, length, update, received);
            TrySelect(trial, inputs, length, update with { Spread = 0 }, received);
            TrySelect(trial, inputs, length, update, received with { Spread = 0 });
        });
    }

    public void Importance(VerificationTrial trial)
    {
        trial.ForEachImportance((inputs, length) =>
        {
            (ImportanceScale update, ImportanceScale received) = GetScales(inputs, length);
            foreach (bool sigmoid in (ReadOnlySpan<bool>)[false, true])
            {
                GuardedPanel actualU = trial.Guarded(DType.F64, length), actualG = trial.Guarded(DType.F64, length);
                GuardedPanel expectedU = trial.Guarded(DType.F64, length), expectedG = trial.Guarded(DType.F64, length);
                backend.Importance(inputs, length, update, received, sigmoid, Values(actualU), Values(actualG));
                Reference.Importance(inputs, length, update, received, sigmoid, Values(expectedU), Values(expectedG));
                for (int i = 0; i < length; i++)
                {
                    trial.Errors.Bounded(actualU[i], expectedU[i], ScalarMath.Tie * (1 + Math.Abs(expectedU[i])));
                    trial.Errors.Bounded(actualG[i], expectedG[i], ScalarMath.Tie * (1 + Math.Abs(expectedG[i])));
                }
            }
        });
    }

    public void Pack(VerificationTrial trial)
    {
        foreach (int length in trial.Lengths)
        {
            // nearly no elements, half of them, nearly all
            foreach (double share in (ReadOnlySpan<double>)[0.01, 0.5, 0.99])
            {
                TensorPanel source = trial.Inputs(1, length, mixed: false, nonFinite: true)[0];
                byte[] mask = new byte[(length + 7) / 8 + 1];
                for (int i = 0; i < length; i++)
                    mask[i / 8] |= (byte)(trial.Random.NextDouble() < share ? 1 << i % 8 : 0);
                int room = length + IClientBackend.PackSlack / (trial.DType.BitSize / 8);
                GuardedPanel actual = trial.Guarded(trial.DType, room), expected = trial.Guarded(trial.DType, room);
                fixed (byte* bits = mask)
                {
                    long count = Reference.Pack(source, length, bits, expected.Panel.Data);
                    trial.Errors.Exact(backend.Pack(source, length, bits, actual.Panel.Data), count);
                    int bytes = (int)count * (trial.DType.BitSize / 8);
                    trial.Errors.Exact(actual.Bytes[..bytes].SequenceEqual(expected.Bytes[..bytes]));
                }

                trial.EndCase();
            }
        }
    }

    public void AddProximal(VerificationTrial trial)
    {
        foreach (int length in trial.Lengths)
        {
            TensorPanel[] inputs = trial.Inputs(3, length, mixed: false, nonFinite: false);
            GuardedPanel actual = trial.Guarded(trial.DType, length), expected = trial.Guarded(trial.DType, length);
            for (int i = 0; i < length; i++)
                actual[i] = expected[i] = Rounding.Read(inputs[2].Data, trial.DType, i);
            double value = Reference.AddProximal(inputs[0], inputs[1], 0.3, length, expected.Panel);
            double bound = (length + 16) * Epsilon * value;
            trial.Errors.Bounded(backend.AddProximal(inputs[0], inputs[1], 0.3, length, actual.Panel), value, bound);
            trial.Errors.Bounded(backend.AddProximal(inputs[0], inputs[1], 0.3, length, default), value, bound);
            trial.Errors.CompareElements(actual, expected);
            trial.EndCase();
        }
    }

    private void TrySelect(
        VerificationTrial trial, in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale received)
    {
        DType momentumType = trial.DType == DType.F64 ? DType.F64 : DType.F32;
        int bytes = (length + 7) / 8;
        // the mask is a panel of bytes between guards
        GuardedPanel actual = trial.Guarded(DType.U8, bytes), expected = trial.Guarded(DType.U8, bytes);
        GuardedPanel momentum = trial.Guarded(momentumType, length), expectedMomentum = trial.Guarded(momentumType, length);
        long selected = backend.SelectImportant(inputs, length, update, received, (byte*)actual.Panel.Data, momentum.Panel);
        Reference.SelectImportant(inputs, length, update, received, (byte*)expected.Panel.Data, expectedMomentum.Panel);
        trial.Errors.CompareElements(momentum, expectedMomentum);
        long set = 0;
        foreach (byte part in actual.Bytes)
            set += BitOperations.PopCount(part);
        trial.Errors.Exact(selected, set);
        trial.Errors.Exact(backend.SelectImportant(inputs, length, update, received, null, default), selected);
        trial.Errors.Exact(length % 8 == 0 || actual.Bytes[^1] >> length % 8 == 0);
        if (actual.Bytes.SequenceEqual(expected.Bytes))
            return;
        // without a spread no z-scores are compared, so that there are no ties
        trial.Errors.Exact(update.Spread != 0 && received.Spread != 0);
        double[] zu = new double[length], zg = new double[length];
        fixed (double* u = zu, g = zg)
            Reference.Importance(inputs, length, update, received, sigmoid: false, u, g);
        for (int i = 0; i < length; i++)
        {
            if (((actual.Bytes[i / 8] ^ expected.Bytes[i / 8]) >> i % 8 & 1) != 0)
                trial.Errors.Bounded(zu[i], zg[i], TieBound);
        }
    }

    private static double* Values(GuardedPanel panel) => (double*)panel.Panel.Data;

    private static (ImportanceScale Update, ImportanceScale Received) GetScales(in ImportanceInputs inputs, int length)
    {
        MagnitudeMoments u = default, g = default;
        Reference.AddMoments(inputs, length, ref u, ref g);
        return (new ImportanceScale(u.Mean, u.StandardDeviation), new ImportanceScale(g.Mean, g.StandardDeviation));
    }
}
